"""From a claim to a running task."""

from __future__ import annotations

import logging

from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerError, MalformedData
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.claims import Claim
from oneshot_queue.wire.specs import unpack_spec
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.worker.job_control import JobControl
from oneshot_queue.workers.worker.services.interrupt_listener import InterruptListener
from oneshot_queue.workers.worker.services.recorder import Recorder
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.slots import Slots

logger = logging.getLogger(__name__)


class Admission:
    """Takes claimed jobs on, each once, whatever the server may have forgotten.

    Args:
        worker: This worker's name, for the history.
    """

    def __init__(
        self,
        *,
        held_jobs: HeldJobs,
        orchestrator: AsyncOrchestrator,
        control: JobControl,
        slots: Slots,
        recorder: Recorder,
        interrupts: InterruptListener,
        clock: Clock,
        worker: str,
    ) -> None:
        self._held_jobs = held_jobs
        self._orchestrator = orchestrator
        self._control = control
        self._slots = slots
        self._recorder = recorder
        self._interrupts = interrupts
        self._clock = clock
        self._worker = worker

    async def admit(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        """Hold a claimed job and start it; one that cannot be read ends as rejected.

        Args:
            lease_id: Under which it was claimed.
        """
        if lease.id != lease_id:
            logger.error("job %s: not started, its lease was lost before it came", claim.job_id)
            return
        holder = Holder(claim.token, lease_id, self._worker)
        former = self._held_jobs.find(lease.keys.queue, claim.job_id)
        if former is not None and await self._goes_on(former, claim, holder):
            return
        self._slots.take()
        held = HeldJob(lease.keys, claim.job_id, claim.attempt, holder, None)
        self._held_jobs.add(held)
        try:
            held.spec = unpack_spec(claim.spec, claim.stdin)
        except MalformedData as problem:
            self._reject(held, problem)
            return
        if self._interrupts.was_announced(lease.keys.queue, claim.job_id, claim.attempt):
            try:
                await self._interrupts.look(lease)
            except BrokerError as problem:
                logger.warning("job %s: cannot read its interrupt yet: %s", held.job_id, problem)
        if held.is_fenced:
            self._held_jobs.remove(held)
            return
        self._orchestrator.submit(
            held.spec, task_id=held.task_id, job_id=held.job_id, attempt=held.attempt, token=claim.token
        )
        if held.intent is not None:
            self._control.interrupt(held.task_id, held.intent.grace_s, "interrupted before it was started")

    def _reject(self, held: HeldJob, problem: MalformedData) -> None:
        error = f"the stored job cannot be read: {problem}"
        logger.error("job %s: %s", held.job_id, error)
        outcome = Outcome(JobState.FAILED, Cause.REJECTED, attempt=held.attempt, error=error)
        held.ended = (outcome, self._clock.monotonic())
        self._recorder.look_at(held)

    async def _goes_on(self, former: HeldJob, claim: Claim, holder: Holder) -> bool:
        """Whether a job that was handed over once more is still being run, and may be; else it has been ended.

        Redis forgets that a job is ours in a crash, a failover or a FLUSHALL. What was started then goes on under the
        new claim: it must not be started twice.
        """
        if not former.is_fenced and former.attempt == claim.attempt and former.is_of(claim.spec, claim.stdin):
            logger.warning("job %s: the broker forgot that it is ours; it goes on", former.job_id)
            self._held_jobs.hand_over(former, holder)
            self._recorder.note(former)
            return True
        self._control.fence(former, "it was handed over once more, as another")
        task = self._orchestrator.tasks.get(former.task_id)
        if task is not None:
            await task.wait()
        return False
