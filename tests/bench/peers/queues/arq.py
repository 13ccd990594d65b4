"""arq.

A worker is one process; its documentation runs several for more. Two of them run two jobs at once each, and look for
jobs as often as helps (``poll_delay``, half a second by default). A job calls ``subprocess.run`` in a thread: that
costs less than a process of asyncio's. It has no call that enqueues many at once: many calls at once share its
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
    "two processes of arq, max_jobs 2, poll_delay 0.01 s; 20 calls of enqueue_job at once, subprocess.run in a thread"
)
WORKERS: Final = (("arq", "tests.bench.peers.queues.arq.WorkerSettings"),) * 2
_REDIS: Final = RedisSettings(unix_socket_path=os.environ[URL].removeprefix("unix://"))
_AT_ONCE: Final = 20


async def run(context: Any, argv: Sequence[str]) -> Outcome:
    """Do the job."""
    return await asyncio.to_thread(run_command, argv)


class WorkerSettings:
    """What the command line of arq reads."""

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
        """Some at once."""
        self._keys = []
        for start in range(0, len(commands), _AT_ONCE):
            calls = (self._client.enqueue_job("run", argv) for argv in commands[start : start + _AT_ONCE])
            self._keys += [result_key_prefix + job.job_id for job in await asyncio.gather(*calls)]
        self._arrivals = Arrivals(self._keys, lambda keys: self._client.exists(*keys))

    async def unfinished(self) -> int:
        """Look at the oldest results that were not there yet."""
        return await self._arrivals.unfinished()

    async def outcomes(self) -> list[Outcome]:
        """What is stored of each."""
        return [deserialize_result(value).result for value in await self._client.mget(self._keys)]


@asynccontextmanager
async def producing() -> AsyncIterator[Arq]:
    """Connect."""
    client = await create_pool(_REDIS)
    try:
        yield Arq(client)
    finally:
        await client.aclose()
