"""How urgently this worker has to stop: drain, then interrupt its jobs, then kill them."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from oneshot_queue.errors import BrokerError
from oneshot_queue.workers.ipc.messages import Stage

logger = logging.getLogger(__name__)


class StopState:
    """How urgently this worker has to stop, and why.

    The supervisor asks for a stage. Each SIGTERM, SIGINT or SIGHUP (a closed terminal) goes one stage further. A broker
    that refuses for good, and the loss of the supervisor, stop the worker too.

    Attributes:
        because: What happened to the worker, as a phrase that follows its name: ``was stopped``.
        is_orphaned: Whether the supervisor is gone: the running jobs are lost with it.
        refusal: Why the broker refuses this worker, if it does so for good.
    """

    def __init__(self) -> None:
        self.stage = Stage.RUNNING
        self.because = "was stopped"
        self.is_orphaned = False
        self.refusal: BrokerError | None = None
        self._reached = {stage: anyio.Event() for stage in Stage}

    def advance(self) -> Stage:
        """Go to the next stage, and return it."""
        self.reach(self.stage.next_request())
        return self.stage

    def reach(self, stage: Stage) -> None:
        """Go to this stage, unless a more urgent one was reached before."""
        self.stage = max(self.stage, stage)
        for each in Stage:
            if each <= self.stage:
                self._reached[each].set()

    def refuse(self, error: BrokerError) -> None:
        """Stop claiming, and exit when the running jobs have ended: the broker refuses until a person changes that."""
        if self.refusal is None:
            logger.error("claiming no more jobs: %s", error)
            self.refusal = error
            self.reach(Stage.FINISHING)

    def lose_supervisor(self) -> None:
        """Stop because the supervisor is gone: nothing would end the jobs if this process died too."""
        logger.error("the supervisor is gone; ending all jobs and this worker")
        self.because = "lost its supervisor"
        self.is_orphaned = True
        self.reach(Stage.INTERRUPTING)

    async def wait_for(self, stage: Stage) -> None:
        """Wait until this stage or a more urgent one is reached."""
        await self._reached[stage].wait()

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Catch SIGTERM, SIGINT and SIGHUP inside the block, for ``count_signals``. Needs a running event loop.

        It sets handlers rather than SIG_IGN or a signal mask, because jobs would inherit those.
        """
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as self._signals:
            yield

    async def count_signals(self) -> None:
        """Go one stage further for every signal, until cancelled."""
        async for _ in self._signals:
            self.advance()
