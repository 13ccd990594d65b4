"""How a worker is asked to stop: to drain, then to interrupt its jobs, then to kill them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from oneshot_queue.workers.ipc.messages import Stage


class StopState:
    """How urgently this worker was asked to stop, by its supervisor or by signals of its own.

    SIGTERM, SIGINT and SIGHUP (a closed terminal) go one stage further each.

    Attributes:
        because: What has happened to the worker, in words that follow its name.
    """

    def __init__(self) -> None:
        self.stage = Stage.RUNNING
        self.because = "was stopped"
        self._reached = {stage: anyio.Event() for stage in Stage}

    def ask(self) -> Stage:
        """Go one stage further."""
        self.reach(self.stage.next_request())
        return self.stage

    def reach(self, stage: Stage) -> None:
        """Go on to this stage, unless it is more urgent already."""
        self.stage = max(self.stage, stage)
        for each in Stage:
            if each <= self.stage:
                self._reached[each].set()

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
