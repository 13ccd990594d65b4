"""dramatiq.

Two processes for two cores, with two threads each, run four commands at once. The results middleware stores results in
Redis. No call enqueues many messages at once.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from tests.bench.peers.driving import URL, Arrivals, Outcome, run_command

DISTRIBUTION: Final = "dramatiq"
SETUP: Final = "dramatiq --processes 2 --threads 2; one call per task"
WORKERS: Final = (
    ("dramatiq", "tests.bench.peers.queues.dramatiq", "--processes", "2", "--threads", "2", "--skip-logging"),
)

backend = RedisBackend(url=os.environ[URL])
broker = RedisBroker(url=os.environ[URL])
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def run(argv: Sequence[str]) -> Outcome:
    """Run the job."""
    return run_command(argv)


class Dramatiq:
    """The queue as a producer sees it."""

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._keys: list[str] = []
        self._arrivals = Arrivals((), len)

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue one by one."""
        self._messages = [run.send(argv) for argv in commands]
        self._keys = [backend.build_message_key(message) for message in self._messages]
        self._arrivals = Arrivals(self._keys, lambda keys: backend.client.exists(*keys))

    async def unfinished(self) -> int:
        """Check the oldest missing results."""
        return await self._arrivals.unfinished()

    async def outcomes(self) -> list[Outcome]:
        """The results in the result backend."""
        return [message.get_result() for message in self._messages]


@asynccontextmanager
async def producing() -> AsyncIterator[Dramatiq]:
    """Nothing to connect."""
    yield Dramatiq()
