"""SAQ.

``saq --workers 2`` starts two processes, each of which runs two jobs at once. A job calls ``subprocess.run`` in a
thread, which costs less than an asyncio subprocess. No call enqueues many jobs at once; concurrent calls share its
connections.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import redis.asyncio
from saq.queue.redis import RedisQueue

from tests.bench.peers.driving import URL, Outcome, run_command

DISTRIBUTION: Final = "saq"
SETUP: Final = "saq --workers 2, concurrency 2; 20 concurrent calls of enqueue, subprocess.run in a thread"
WORKERS: Final = (("saq", "tests.bench.peers.queues.saq.settings", "--workers", "2", "--quiet"),)

queue = RedisQueue(redis.asyncio.Redis.from_url(os.environ[URL]), name="bench")


async def run(context: Any, *, argv: Sequence[str]) -> Outcome:
    """Run the job."""
    return await asyncio.to_thread(run_command, argv)


settings = {"queue": queue, "functions": [run], "concurrency": 2}


class SAQ:
    """The queue as a producer sees it."""

    def __init__(self) -> None:
        self._jobs: list[Any] = []

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue with as many concurrent calls as the queue allows."""
        # Keep results long enough to be read back; the default time limit of a job is 10 s.
        calls = (queue.enqueue("run", argv=argv, timeout=0, ttl=3600) for argv in commands)
        self._jobs = await asyncio.gather(*calls)

    async def unfinished(self) -> int:
        """One ZCARD."""
        return int(await queue.count("incomplete"))

    async def outcomes(self) -> list[Outcome]:
        """The stored result of each job."""
        stored = [await queue.job(job.key) for job in self._jobs]
        return [(-1, str(job), "") if job is None or job.status != "complete" else job.result for job in stored]


@asynccontextmanager
async def producing() -> AsyncIterator[SAQ]:
    """Connect."""
    await queue.connect()
    try:
        yield SAQ()
    finally:
        await queue.disconnect()
