"""huey.

Its guide on the consumer recommends processes for CPU-bound work and threads for I/O-bound work. ``RedisHuey`` blocks
in BRPOP by default, so no worker polls. No call enqueues many tasks at once.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from huey import RedisHuey

from tests.bench.peers.driving import SLOTS, URL, Outcome, run_command

DISTRIBUTION: Final = "huey"
SETUP: Final = f"huey_consumer -k process -w {SLOTS}, no scheduler of periodic tasks; one call per task"
WORKERS: Final = (
    (
        *("huey_consumer", "tests.bench.peers.queues.huey.queue", "--worker-type", "process", "--workers", str(SLOTS)),
        *("--no-periodic", "--quiet"),
    ),
)

queue = RedisHuey("bench", url=os.environ[URL])


@queue.task()
def run(argv: Sequence[str]) -> Outcome:
    """Run the job."""
    return run_command(argv)


class Huey:
    """The queue as a producer sees it."""

    def __init__(self) -> None:
        self._results: list[Any] = []
        self._before = 0

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue one by one."""
        self._before = queue.storage.result_store_size()
        self._results = [run(argv) for argv in commands]

    async def unfinished(self) -> int:
        """One HLEN."""
        return self._before + len(self._results) - int(queue.storage.result_store_size())

    async def outcomes(self) -> list[Outcome]:
        """Read each result, which removes it."""
        return [result.get() for result in self._results]


@asynccontextmanager
async def producing() -> AsyncIterator[Huey]:
    """Nothing to connect."""
    yield Huey()
