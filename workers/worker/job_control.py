"""Every way this worker ends a job early or returns it to its queue."""

from __future__ import annotations

import logging
from typing import assert_never

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.worker.session import Identity
from oneshot_queue.workers.worker.state.held_jobs import (
    FENCED,
    Ended,
    Fenced,
    GoingBack,
    HeldJob,
    HeldJobs,
    Running,
    Stop,
    Waiting,
    log_fields,
)
from oneshot_queue.workers.worker.state.slots import Slots

logger = logging.getLogger(__name__)


class JobControl:
    """Acts on held jobs and their tasks. ``JobObserver`` records the outcome when the task has ended."""

    def __init__(self, held_jobs: HeldJobs, engine: AsyncOrchestrator, slots: Slots, identity: Identity) -> None:
        self._held_jobs = held_jobs
        self._engine = engine
        self._slots = slots
        self._worker = identity.name

    def interrupt(self, held: HeldJob, grace_s: float | None, reason: str) -> bool:
        """Interrupt a job.

        Args:
            grace_s: Seconds between SIGTERM and SIGKILL; ``None`` for the job's own.

        Returns:
            Whether it ends INTERRUPTED; false if it has no task, or if its command has just exited.
        """
        return self._engine.interrupt(held.task_id, grace=grace_s, reason=reason)

    def fence(self, held: HeldJob, why: str) -> None:
        """Kill the processes of a job that this worker no longer holds, and record nothing about it.

        There is no grace period: the job may already run elsewhere.
        """
        logger.error("%s; killing its processes", why, extra=log_fields(held))
        phase, held.phase = held.phase, FENCED
        match phase:
            case Ended() | GoingBack():
                self._held_jobs.remove(held)
            case Waiting() | Running() | Fenced():
                self.interrupt(held, 0.0, "fenced")
            case _:
                assert_never(phase)

    def give_up(self, held: HeldJob, grace_s: float | None, reason: str) -> None:
        """End a running job FAILED as ``worker_lost``; return it to its queue if it has not started."""
        self._give_up(held, grace_s, Stop(reason, is_given_up=True))

    def stop(self, held: HeldJob, because: str, *, is_lost: bool) -> None:
        """End a job because this worker stops.

        It ends INTERRUPTED. If it is to be retried when its worker is lost, it ends FAILED instead, and the next
        attempt may begin at once. A recorded interrupt of the job takes precedence.

        Args:
            because: What happened to this worker, as a phrase that follows its name: ``was stopped``.
            is_lost: End it FAILED as ``worker_lost`` in any case.
        """
        reason = f"worker {self._worker} {because}"
        if held.intent is not None:
            self.interrupt(held, None, reason)
            return
        lost = Outcome(JobState.FAILED, Cause.WORKER_LOST, attempt=held.attempt)
        is_handed_on = held.spec is not None and held.spec.begins_again(lost)
        if is_handed_on or is_lost:
            self._give_up(held, None, Stop(reason, is_given_up=True, is_handed_on=is_handed_on))
            return
        if isinstance(held.phase, Running):
            held.phase.stop = held.phase.stop or Stop(reason)
        self.interrupt(held, None, reason)

    def postpone(self, held: HeldJob) -> None:
        """Return a job that cannot be started because the host cannot start processes now, and pause claiming."""
        self._slots.pause()
        self._give_back(held, "postponed")

    def return_unstarted(self) -> None:
        """Return every job that has no process yet."""
        for held in self._held_jobs:
            if held.task_id in self._engine.tasks and isinstance(held.phase, Waiting):
                self._give_back(held, "drained")

    def _give_up(self, held: HeldJob, grace_s: float | None, stop: Stop) -> None:
        task = self._engine.tasks.get(held.task_id)
        match held.phase:
            case Waiting():
                if task is not None:
                    self._give_back(held, "unstarted")
            case Running() as running:
                running.stop = running.stop or stop
                if task is not None:
                    task.give_up(Cause.WORKER_LOST, grace=grace_s, reason=stop.reason)
            case Ended() | GoingBack() | Fenced():
                pass
            case _:
                assert_never(held.phase)

    def _give_back(self, held: HeldJob, why: str) -> None:
        held.phase = GoingBack(why)
        self.interrupt(held, 0.0, why)
