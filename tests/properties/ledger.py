"""The state of a queue in the model, and the moves of a job in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from tests.properties.clock import BEGIN_MS
from tests.properties.jobs import Attempt, Job, Row

CREATED: Final = JobState.CREATED


@dataclass(slots=True)
class Ledger:
    """One queue.

    Attributes:
        now_ms: The current time, which only changes in steps.
        delayed: Job -> when it is due.
        expiring: Job -> when it expires.
        leases: Lease -> when it ends; 0 if it is condemned.
        intents: Lease -> job -> the attempt to interrupt.
        kept: Finished job -> bytes of its stored output.
        sweeper: The lease of the current sweeper.
        places: Number of entries so far.
    """

    now_ms: int = BEGIN_MS
    jobs: dict[str, Job] = field(default_factory=dict)
    delayed: dict[str, int] = field(default_factory=dict)
    expiring: dict[str, int] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    intents: dict[str, dict[str, int]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    sweeper: str | None = None
    places: int = 0

    def stream(self, priority: Priority) -> list[str]:
        """The ids in a ready stream: waiting and held jobs."""
        return [job_id for job_id, _ in self._in_order(priority)]

    def pending(self) -> dict[str, str]:
        return {job_id: job.lease or "" for job_id, job in self.jobs.items() if job.is_pending}

    def knows(self, attempt: Attempt) -> bool:
        """Whether this claim is on record."""
        job = self.jobs.get(attempt.job_id)
        return job is not None and self._holds(job, attempt)

    def later(self, seconds: float) -> int:
        """The time in ``seconds`` from now."""
        return self.now_ms + round(seconds * 1000)

    def _in_order(self, priority: Priority) -> list[tuple[str, Job]]:
        of_it = [(job_id, job) for job_id, job in self.jobs.items() if job.place and job.plan.priority is priority]
        return sorted(of_it, key=lambda each: each[1].place)

    def _pending(self, lease: str) -> list[str]:
        held = self.pending()
        return [each for priority in Priority for each in self.stream(priority) if held.get(each) == lease]

    @staticmethod
    def _holds(job: Job, attempt: Attempt) -> bool:
        # The lease of a finished job does not matter.
        return job.token == attempt.token and (job.lease == attempt.lease or job.state.is_final)

    @staticmethod
    def _is_held(job: Job, lease: str) -> bool:
        return job.is_pending and job.lease == lease

    @staticmethod
    def _has_returned(job: Job, attempt: Attempt) -> bool:
        return job.state is CREATED and job.token == attempt.token and job.lease is None

    def _add_row(self, job: Job, state: JobState, cause: str | None = None, *, ago_ms: int = 0) -> None:
        """Add a row to the history; times never go back, whatever the clock says."""
        at_ms = max(self.now_ms - ago_ms, job.changed_ms)
        job.rows.append(Row(at_ms, job.attempt, state, cause))

    def _join_queue(self, job: Job) -> None:
        self.places += 1
        job.place = self.places

    def _start(self, job_id: str, lease: str, *, cause: str | None = None, is_out_of_turn: bool = False) -> None:
        job = self.jobs[job_id]
        job.state, job.lease, job.is_pending, job.is_out_of_turn = JobState.RUNNING, lease, True, is_out_of_turn
        self._add_row(job, JobState.RUNNING, cause)
        job.expires_ms = self.expiring.pop(job_id, None)

    def _leave_queue(self, job_id: str, job: Job) -> None:
        job.place, job.is_pending = 0, False
        for waiting in (self.delayed, self.expiring):
            waiting.pop(job_id, None)
        if job.lease in self.intents:
            self.intents[job.lease].pop(job_id, None)

    def _end(self, job_id: str, job: Job, state: JobState, cause: str, kept: int, *, ago_ms: int = 0) -> None:
        self._leave_queue(job_id, job)
        job.state = state
        self._add_row(job, state, cause, ago_ms=ago_ms)
        if kept + job.kept_before:
            self.kept[job_id] = kept + job.kept_before

    def _return(self, job_id: str, job: Job) -> None:
        self._leave_queue(job_id, job)
        job.expires_ms = None
        job.state, job.lease, job.sequence, job.ordinal, job.bytes = CREATED, None, 0, 0, 0

    def _give_back(self, job_id: str, job: Job) -> None:
        expires_ms = job.expires_ms
        self._return(job_id, job)
        if expires_ms is not None:
            self.expiring[job_id] = expires_ms
        self._add_row(job, CREATED, "unstarted")
        self._join_queue(job)

    def _retry(self, job_id: str, job: Job, cause: str, kept: int, wait_s: float, *, ago_ms: int = 0) -> None:
        self._return(job_id, job)
        job.kept_before += kept
        self._add_row(job, JobState.FAILED, cause, ago_ms=ago_ms)
        job.attempt += 1
        self._add_row(job, CREATED, "retry", ago_ms=ago_ms)
        if wait_s:
            self.delayed[job_id] = job.changed_ms + round(wait_s * 1000)
        else:
            self._join_queue(job)

    def _lose(self, job_id: str, job: Job, *, is_confirmed: bool = False) -> None:
        job.settled_token = job.token
        if not job.is_interrupted and job.attempt <= job.plan.retries:
            self._retry(job_id, job, "worker_lost", job.bytes, job.plan.retry_s)
            return
        job.is_confirmed = is_confirmed
        if job.is_interrupted:
            self._end(job_id, job, JobState.INTERRUPTED, "interrupted", job.bytes)
        else:
            self._end(job_id, job, JobState.FAILED, "worker_lost", job.bytes)

    def _forget(self, job_id: str) -> int:
        """Delete a job; returns its serial."""
        self.kept.pop(job_id, None)
        return self.jobs.pop(job_id).serial


def reached(instants: dict[str, int], now_ms: int) -> list[str]:
    """The ids whose time has come, in order."""
    return sorted(
        (each for each, at_ms in instants.items() if at_ms <= now_ms), key=lambda each: (instants[each], each)
    )
