"""How a worker is asked to stop: once to drain, twice to interrupt its jobs, three times to kill them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import anyio


class Stage(IntEnum):
    """How urgently."""

    RUNNING = 0
    DRAINING = 1
    INTERRUPTING = 2
    KILLING = 3


class Stopping:
    """Counts the requests; SIGTERM, SIGINT and SIGHUP (a closed terminal) are one each."""

    def __init__(self) -> None:
        self.stage = Stage.RUNNING
        self._reached = {stage: anyio.Event() for stage in Stage}

    def ask(self) -> Stage:
        """Go one stage further."""
        self.stage = Stage(min(self.stage + 1, Stage.KILLING))
        self._reached[self.stage].set()
        return self.stage

    async def wait_for(self, stage: Stage) -> None:
        """Wait until it is at least this urgent."""
        await self._reached[stage].wait()

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Let no signal end this process; ``count_signals`` counts them. To be entered in a running loop.

        Handlers, never SIG_IGN or a blocked mask: jobs would inherit those.
        """
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as self._signals:
            yield

    async def count_signals(self) -> None:
        """Count those that are caught, for ever."""
        async for _ in self._signals:
            self.ask()
