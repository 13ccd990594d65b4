"""streaq.

``streaq run --workers 2`` starts two processes, each of which runs two tasks at once. A plain function runs in a thread
of the worker, which costs less than an asyncio subprocess. ``enqueue_many`` uses one pipeline.
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
    """Run the job."""
    return run_command(argv)


class Streaq:
    """The queue as a producer sees it."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._arrivals = Arrivals((), len)

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue through one pipeline."""
        tasks = [run.enqueue(argv) for argv in commands]
        await worker.enqueue_many(tasks)
        self._keys = [worker.results_key + task.id for task in tasks]
        self._arrivals = Arrivals(self._keys, worker.redis.exists)

    async def unfinished(self) -> int:
        """Check the oldest missing results."""
        return await self._arrivals.unfinished()

    async def outcomes(self) -> list[Outcome]:
        """The stored result of each task."""
        # Not Task.result(): it subscribes for each task, and takes 100 ms.
        stored = [await worker.deserialize(value) for value in await worker.redis.mget(self._keys)]
        return [result["r"] for result in stored]


@asynccontextmanager
async def producing() -> AsyncIterator[Streaq]:
    """Connect."""
    async with worker:
        yield Streaq()
