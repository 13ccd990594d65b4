"""Celery.

For many short tasks, its optimizing guide recommends a large prefetch multiplier, "64, or 128 for example"; transient
messages make no difference with Redis. A single worker needs no gossip, mingle or heartbeat. Results are stored in
Redis (``ignore_result=False``). No call enqueues many tasks at once; keeping one producer saves taking a connection
from the pool for each task.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import redis
from celery import Celery

from tests.bench.peers.driving import SLOTS, URL, Arrivals, Outcome, run_command

DISTRIBUTION: Final = "celery"
SETUP: Final = (
    f"prefork, -c {SLOTS}, prefetch multiplier 128, no gossip, mingle or heartbeat; apply_async, one producer"
)
WORKERS: Final = (
    (
        *("celery", "-A", "tests.bench.peers.queues.celery", "worker", "--pool", "prefork", "-c", str(SLOTS)),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "error"),
    ),
)
_URL: Final = os.environ[URL].replace("unix://", "redis+socket://")

app = Celery("bench", broker=_URL, backend=_URL)
app.conf.worker_prefetch_multiplier = 128
app.conf.task_ignore_result = False
app.conf.worker_hijack_root_logger = False


@app.task
def run(argv: Sequence[str]) -> Outcome:
    """Run the job."""
    return run_command(argv)


class CeleryProducer:
    """The queue as a producer sees it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._keys: list[bytes] = []
        self._arrivals = Arrivals((), len)

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue one by one, through one producer."""
        with app.producer_pool.acquire() as producer:
            results = [run.apply_async((argv,), producer=producer) for argv in commands]
        self._keys = [app.backend.get_key_for_task(result.id) for result in results]
        self._arrivals = Arrivals(self._keys, lambda keys: self._client.exists(*keys))

    async def unfinished(self) -> int:
        """Check the oldest missing results."""
        return await self._arrivals.unfinished()

    async def outcomes(self) -> list[Outcome]:
        """The results in the result backend."""
        return [app.backend.decode(value)["result"] for value in self._client.mget(self._keys)]


@asynccontextmanager
async def producing() -> AsyncIterator[CeleryProducer]:
    """Connect."""
    with redis.Redis.from_url(os.environ[URL]) as client:
        yield CeleryProducer(client)
