"""A peer for the tests: it keeps its results in memory, and its worker does nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from tests.bench.peers.driving import Outcome, run_command

DISTRIBUTION: Final = "pytest"
SETUP: Final = "threads, and a worker that does nothing"
WORKERS: Final = ((os.environ.get("FAKE_WORKER", "/bin/sleep"), "60"),)


class Fake:
    """The queue as a producer sees it."""

    def __init__(self) -> None:
        self._total = 0
        self._outcomes: list[Outcome] = []

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Start a thread for each command."""
        self._total = len(commands)
        self._outcomes = []
        self._thread = asyncio.gather(*(asyncio.to_thread(self._run, argv) for argv in commands))

    async def unfinished(self) -> int:
        """How many commands are running; one more if the test waits for the worker to exit."""
        return self._total - len(self._outcomes) + ("FAKE_WORKER" in os.environ)

    async def outcomes(self) -> list[Outcome]:
        """All results."""
        await self._thread
        return self._outcomes

    def _run(self, argv: Sequence[str]) -> None:
        self._outcomes.append(run_command([os.environ.get("FAKE_COMMAND", argv[0])]))


@asynccontextmanager
async def producing() -> AsyncIterator[Fake]:
    """Nothing to connect."""
    yield Fake()
