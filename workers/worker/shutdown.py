"""Stops a worker: ends its jobs, records their results, and ends its leases."""

from __future__ import annotations

from typing import Final, Protocol

import anyio

from oneshot_queue.errors import BrokerError
from oneshot_queue.store.transport.connection import REPLY_TIMEOUT_S
from oneshot_queue.workers.ipc.console import describe_jobs
from oneshot_queue.workers.ipc.messages import Stage
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.worker.job_control import JobControl
from oneshot_queue.workers.worker.report import Report
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.stop_state import StopState

FLUSH_S: Final = 30.0
"""How long a stopping worker tries to record the results of its jobs."""

KILLING_LIMIT_S: Final = 0.5
"""Time left for recording results, and for deregistering, once the worker is told to kill its jobs."""


class Registration(Protocol):
    """A record of this worker in Redis, such as its leases or its presence."""

    async def end(self) -> None:
        """Remove it.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """


class Shutdown:
    """The last steps of a worker, in this order; a more urgent request to stop shortens each of them."""

    def __init__(
        self,
        *,
        stopping: StopState,
        held_jobs: HeldJobs,
        engine: AsyncOrchestrator,
        control: JobControl,
        leases: Registration,
        presence: Registration,
        report: Report,
    ) -> None:
        self._stopping = stopping
        self._held_jobs = held_jobs
        self._engine = engine
        self._control = control
        self._leases = leases
        self._presence = presence
        self._report = report

    async def end_jobs(self, drain_timeout_s: float | None) -> None:
        """Wait for the jobs to end; interrupt them after the drain timeout or on request, and kill them on request.

        Args:
            drain_timeout_s: Seconds that running jobs may take when the worker drains; ``None`` for no limit.
        """
        async with anyio.create_task_group() as escalation:
            if self._stopping.stage:
                self._control.return_unstarted()
            escalation.start_soon(self._escalate, drain_timeout_s)
            await self._engine.wait_until_idle()
            escalation.cancel_scope.cancel()

    async def flush(self) -> None:
        """Wait until the remaining results are recorded; give up after ``FLUSH_S``, or soon after a request to kill."""
        with anyio.move_on_after(FLUSH_S):
            async with anyio.create_task_group() as flushing:

                async def give_up_when_killing() -> None:
                    await self._stopping.wait_for(Stage.KILLING)
                    await anyio.sleep(KILLING_LIMIT_S)
                    flushing.cancel_scope.cancel()

                flushing.start_soon(give_up_when_killing)
                await self._held_jobs.wait_until_recorded()
                flushing.cancel_scope.cancel()
        for held in self._held_jobs:
            self._report.warn(f"job {held.job_id}: its result could not be recorded")

    async def deregister(self) -> None:
        """End the leases and the presence."""
        patience_s = KILLING_LIMIT_S if self._stopping.stage is Stage.KILLING else REPLY_TIMEOUT_S
        with anyio.move_on_after(patience_s, shield=True):
            try:
                await self._leases.end()
                await self._presence.end()
            except BrokerError as problem:
                self._report.warn(f"could not deregister: {problem}")

    async def _escalate(self, drain_timeout_s: float | None) -> None:
        if self._stopping.stage is Stage.FINISHING:
            self._announce_wait(None)
        await self._stopping.wait_for(Stage.DRAINING)
        if self._stopping.stage is Stage.DRAINING:
            self._announce_wait(drain_timeout_s)
        with anyio.move_on_after(drain_timeout_s):
            await self._stopping.wait_for(Stage.INTERRUPTING)
        if self._engine.tasks:
            self._report.say(f"interrupting {self._jobs()}")
        for held in self._held_jobs:
            self._control.stop(held, self._stopping.because, is_lost=self._stopping.is_orphaned)
        await self._stopping.wait_for(Stage.KILLING)
        self._engine.kill()

    def _announce_wait(self, patience_s: float | None) -> None:
        if self._engine.tasks:
            until = "waiting for " if patience_s is None else f"{patience_s:g} s for "
            self._report.say(f"stopping: {until}{self._jobs()} to end")

    def _jobs(self) -> str:
        return describe_jobs(len(self._engine.tasks))
