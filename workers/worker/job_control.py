"""Letting jobs go before they end by themselves: every way in which this worker ends or returns one."""

from __future__ import annotations

import logging

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.slots import Slots

logger = logging.getLogger(__name__)


class JobControl:
    """Acts on held jobs and their tasks alike; what has to be written follows from how the task ends.

    Args:
        worker: This worker's name, for people.
    """

    def __init__(self, held_jobs: HeldJobs, orchestrator: AsyncOrchestrator, slots: Slots, *, worker: str) -> None:
        self._held_jobs = held_jobs
        self._orchestrator = orchestrator
        self._slots = slots
        self._worker = worker

    def interrupt(self, task_id: str, grace_s: float | None, reason: str) -> bool:
        """Interrupt a task; whether it ends for that."""
        return self._orchestrator.interrupt(task_id, grace=grace_s, reason=reason)

    def fence(self, held: HeldJob, why: str = "it is not this worker's any more") -> None:
        """End the processes of a job that is not ours any more, and write nothing."""
        logger.error("job %s: %s; ending its processes", held.job_id, why)
        held.is_fenced = True
        self.interrupt(held.task_id, 0.0, "fenced")
        if held.ended is not None:
            self._held_jobs.remove(held)

    def give_up(self, held: HeldJob, grace_s: float | None) -> None:
        """End a job that may go on elsewhere, or return it if it has not begun."""
        task = self._orchestrator.tasks.get(held.task_id)
        if task is None or task.give_up(Cause.WORKER_LOST, grace=grace_s, reason=held.stop_reason):
            return
        if task.pid is None:
            self._give_back(held, "unstarted")

    def postpone(self, held: HeldJob) -> None:
        """The host has no process to spare: let another worker, or this one later, start the job."""
        self._slots.pause()
        self._give_back(held, "postponed")

    def return_unstarted(self) -> None:
        """Return every job whose process does not exist yet."""
        for held in self._held_jobs:
            task = self._orchestrator.tasks.get(held.task_id)
            if task is not None and task.pid is None:
                self._give_back(held, "drained")

    def stop(self, held: HeldJob, because: str) -> None:
        """This worker does not wait for the job any longer: hand it on if it asked for that, else interrupt it."""
        held.stop_reason = f"worker {self._worker} {because}"
        lost = Outcome(JobState.FAILED, Cause.WORKER_LOST, attempt=held.attempt)
        if held.intent is None and held.spec is not None and held.spec.begins_again(lost):
            held.is_handed_on = True
            self.give_up(held, None)
        else:
            self.interrupt(held.task_id, None, held.stop_reason)

    def _give_back(self, held: HeldJob, why: str) -> None:
        held.goes_back = why
        self.interrupt(held.task_id, 0.0, why)
