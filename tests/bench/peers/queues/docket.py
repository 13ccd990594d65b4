"""docket.

Two processes with a ``Worker`` run two tasks at once each; ``add_many`` uses pipelines. A worker whose slots were full
waits for ``minimum_check_interval``, by default 250 ms, before it checks for more; 1 ms is many times as fast for such
short tasks. A task calls ``subprocess.run`` in a thread, which costs less than an asyncio subprocess.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from docket import Docket, Worker

from tests.bench.peers.driving import URL, Outcome, run_command

DISTRIBUTION: Final = "pydocket"
SETUP: Final = "two Workers, concurrency 2, minimum_check_interval 1 ms; add_many, subprocess.run in a thread"
WORKERS: Final = ((sys.executable, "-P", "-m", "tests.bench.peers.queues.docket"),) * 2


async def run(argv: Sequence[str]) -> Outcome:
    """Run the job."""
    return await asyncio.to_thread(run_command, argv)


class DocketProducer:
    """The queue as a producer sees it."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._executions: list[Any] = []

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue through pipelines."""
        self._executions = await self._docket.add_many(self._docket.call(run)(argv) for argv in commands)

    async def unfinished(self) -> int:
        """One XLEN: an entry is removed when its task has its state and result."""
        async with self._docket.redis() as client:
            return int(await client.xlen(self._docket.stream_key))

    async def outcomes(self) -> list[Outcome]:
        """The stored result of each task."""
        return [await execution.get_result(timeout=timedelta(seconds=5)) for execution in self._executions]


@asynccontextmanager
async def producing() -> AsyncIterator[DocketProducer]:
    """Connect."""
    async with Docket("bench", url=os.environ[URL]) as docket:
        docket.register(run)
        yield DocketProducer(docket)


async def work() -> None:
    """Run one of the workers; its command line accepts only whole seconds as the interval."""
    async with Docket("bench", url=os.environ[URL]) as docket:
        docket.register(run)
        async with Worker(docket, concurrency=2, minimum_check_interval=timedelta(milliseconds=1)) as worker:
            await worker.run_forever()


if __name__ == "__main__":
    asyncio.run(work())
