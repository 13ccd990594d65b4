"""arq.

A worker is one process; the documentation starts several to use more cores. Two of them run two jobs at once each, and
poll for jobs at the fastest useful rate (``poll_delay``, by default half a second). A job calls ``subprocess.run`` in a
thread, which costs less than an asyncio subprocess. No call enqueues many jobs at once; concurrent calls share its
connections.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.constants import result_key_prefix
from arq.jobs import deserialize_result

from tests.bench.peers.driving import URL, Arrivals, Outcome, run_command

DISTRIBUTION: Final = "arq"
SETUP: Final = (
    "two arq processes, max_jobs 2, poll_delay 0.01 s; 20 concurrent calls of enqueue_job, subprocess.run in a thread"
)
WORKERS: Final = (("arq", "tests.bench.peers.queues.arq.WorkerSettings"),) * 2
_REDIS: Final = RedisSettings(unix_socket_path=os.environ[URL].removeprefix("unix://"))
_AT_ONCE: Final = 20


async def run(context: Any, argv: Sequence[str]) -> Outcome:
    """Run the job."""
    return await asyncio.to_thread(run_command, argv)


class WorkerSettings:
    """The settings that the arq command reads."""

    functions = (run,)
    redis_settings = _REDIS
    max_jobs = 2
    poll_delay = 0.01


class Arq:
    """The queue as a producer sees it."""

    def __init__(self, client: ArqRedis) -> None:
        self._client = client
        self._keys: list[str] = []
        self._arrivals = Arrivals((), len)

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue with some concurrent calls."""
        self._keys = []
        for start in range(0, len(commands), _AT_ONCE):
            calls = (self._client.enqueue_job("run", argv) for argv in commands[start : start + _AT_ONCE])
            self._keys += [result_key_prefix + job.job_id for job in await asyncio.gather(*calls)]
        self._arrivals = Arrivals(self._keys, lambda keys: self._client.exists(*keys))

    async def unfinished(self) -> int:
        """Check the oldest missing results."""
        return await self._arrivals.unfinished()

    async def outcomes(self) -> list[Outcome]:
        """The stored result of each job."""
        return [deserialize_result(value).result for value in await self._client.mget(self._keys)]


@asynccontextmanager
async def producing() -> AsyncIterator[Arq]:
    """Connect."""
    client = await create_pool(_REDIS)
    try:
        yield Arq(client)
    finally:
        await client.aclose()
