"""docket.

Two processes with a ``Worker`` run two tasks at once each; ``add_many`` goes through pipelines. A worker whose slots
were full waits for ``minimum_check_interval`` before it looks for more, by default 250 ms: 1 ms is many times as fast
for tasks so short. A task calls ``subprocess.run`` in a thread: that costs less than a process of asyncio's.
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
    """Do the job."""
    return await asyncio.to_thread(run_command, argv)


class DocketProducer:
    """The queue as a producer sees it."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._executions: list[Any] = []

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Through pipelines."""
        self._executions = await self._docket.add_many(self._docket.call(run)(argv) for argv in commands)

    async def unfinished(self) -> int:
        """One XLEN: an entry goes when its task has its state and its result."""
        async with self._docket.redis() as client:
            return int(await client.xlen(self._docket.stream_key))

    async def outcomes(self) -> list[Outcome]:
        """What is stored of each."""
        return [await execution.get_result(timeout=timedelta(seconds=5)) for execution in self._executions]


@asynccontextmanager
async def producing() -> AsyncIterator[DocketProducer]:
    """Connect."""
    async with Docket("bench", url=os.environ[URL]) as docket:
        docket.register(run)
        yield DocketProducer(docket)


async def work() -> None:
    """Run one of the workers; the command line takes whole seconds as an interval."""
    async with Docket("bench", url=os.environ[URL]) as docket:
        docket.register(run)
        async with Worker(docket, concurrency=2, minimum_check_interval=timedelta(milliseconds=1)) as worker:
            await worker.run_forever()


if __name__ == "__main__":
    asyncio.run(work())
