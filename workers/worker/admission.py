"""Turns a claim into a running task."""

from __future__ import annotations

import logging
from typing import Protocol

from oneshot_queue.errors import BrokerError, MalformedData
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.claims import Claim
from oneshot_queue.wire.specs import unpack_spec
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.worker.job_control import JobControl
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.held_jobs import FENCED, Ended, HeldJob, HeldJobs, log_fields
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.slots import Slots

logger = logging.getLogger(__name__)


class Recorder(Protocol):
    """Records what happens to held jobs."""

    def add_change(self, held: HeldJob) -> None:
        """Record a change of this job."""

    def schedule(self, held: HeldJob) -> None:
        """Check soon what has to be recorded about this job."""


class Admission:
    """Starts each claimed job once, even if the server forgets the claim and hands the job over again."""

    def __init__(
        self,
        session: Session,
        held_jobs: HeldJobs,
        engine: AsyncOrchestrator,
        *,
        control: JobControl,
        slots: Slots,
        recorder: Recorder,
        orders: Orders,
        early: EarlyInterrupts,
    ) -> None:
        self._clock = session.clock
        self._worker = session.identity.name
        self._held_jobs = held_jobs
        self._engine = engine
        self._control = control
        self._slots = slots
        self._recorder = recorder
        self._orders = orders
        self._early = early

    async def admit(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        """Hold a claimed job and start it; one that cannot be read ends FAILED as ``rejected``.

        Args:
            lease_id: The lease under which it was claimed; the worker may have another one by now.
        """
        holder = Holder(claim.token, lease_id, self._worker)
        held = HeldJob(lease.keys, claim.job_id, claim.attempt, holder)
        if lease.id != lease_id:
            logger.error("not started: its lease was lost before it arrived", extra=log_fields(held))
            return
        former = self._held_jobs.find(lease.keys.queue, claim.job_id)
        if former is not None and await self._continues(former, claim, holder):
            return
        self._slots.take()
        self._held_jobs.add(held)
        try:
            held.spec = unpack_spec(claim.spec, claim.stdin)
        except MalformedData as problem:
            self._reject(held, problem)
            return
        if self._early.take(lease.keys.queue, claim.job_id, claim.attempt):
            try:
                await self._orders.fetch(lease)
            except BrokerError as problem:
                logger.warning("cannot read its interrupt yet: %s", problem, extra=log_fields(held))
        if held.phase is FENCED:
            self._held_jobs.remove(held)
            return
        self._engine.submit(
            held.spec, task_id=held.task_id, job_id=held.job_id, attempt=held.attempt, token=claim.token
        )
        if held.intent is not None:
            self._control.interrupt(held, held.intent.grace_s, "interrupted before it was started")

    def _reject(self, held: HeldJob, problem: MalformedData) -> None:
        error = f"the stored job cannot be read: {problem}"
        logger.error("%s", error, extra=log_fields(held, cause=Cause.REJECTED))
        outcome = Outcome(JobState.FAILED, Cause.REJECTED, attempt=held.attempt, error=error)
        held.phase = Ended(outcome, self._clock.monotonic(), None)
        self._recorder.schedule(held)

    async def _continues(self, former: HeldJob, claim: Claim, holder: Holder) -> bool:
        """Return whether a held job that was handed over again continues; if not, wait until its task has ended.

        After a crash, a failover or a FLUSHALL, Redis may not know that this worker holds the job. The job then
        continues under the new claim: it must not be started twice.
        """
        if former.phase is not FENCED and former.attempt == claim.attempt and former.matches(claim.spec, claim.stdin):
            logger.warning(
                "the broker lost this worker's claim of the job; the job continues", extra=log_fields(former)
            )
            self._held_jobs.hand_over(former, holder)
            self._recorder.add_change(former)
            return True
        self._control.fence(former, "it was handed over again, as another job")
        task = self._engine.tasks.get(former.task_id)
        if task is not None:
            await task.wait()
        return False
