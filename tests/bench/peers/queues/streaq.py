"""streaq.

``streaq run --workers 2`` starts two processes, each of which runs two tasks at once; a plain function runs in a thread
of a worker, which costs less than a process of asyncio's. ``enqueue_many`` goes through one pipeline.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from streaq import Worker

from tests.bench.peers.driving import URL, Arrivals, Outcome, run_command

DISTRIBUTION: Final = "streaq"
SETUP: Final = "streaq run --workers 2, concurrency 2, a plain function; enqueue_many"
WORKERS: Final = (("streaq", "run", "tests.bench.peers.queues.streaq:worker", "--workers", "2"),)

worker = Worker(redis_url=os.environ[URL], queue_name="bench", concurrency=2, sync_concurrency=2)


@worker.task(ttl=3600)
def run(argv: Sequence[str]) -> Outcome:
    """Do the job."""
    return run_command(argv)


class Streaq:
    """The queue as a producer sees it."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._arrivals = Arrivals((), len)

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Through one pipeline."""
        tasks = [run.enqueue(argv) for argv in commands]
        await worker.enqueue_many(tasks)
        self._keys = [worker.results_key + task.id for task in tasks]
        self._arrivals = Arrivals(self._keys, worker.redis.exists)

    async def unfinished(self) -> int:
        """Look at the oldest results that were not there yet."""
        return await self._arrivals.unfinished()

    async def outcomes(self) -> list[Outcome]:
        """What is stored of each."""
        # Task.result() subscribes first, for each, and takes 100 ms.
        stored = [await worker.deserialize(value) for value in await worker.redis.mget(self._keys)]
        return [result["r"] for result in stored]


@asynccontextmanager
async def producing() -> AsyncIterator[Streaq]:
    """Connect."""
    async with worker:
        yield Streaq()
