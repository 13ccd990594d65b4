"""What the store promises, as plain dictionaries: each method is one call, changes the model and foretells the answer.

It knows no Redis and no Lua; the only thing it shares with the product is the state machine's table. Tokens are not
foretold, but read from what the store answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from oneshot_queue.jobs import Priority
from oneshot_queue.states import TRANSITIONS, JobState
from oneshot_queue.store.claiming import MAX_RETURNS, Later, Lost, Returned
from oneshot_queue.store.job_store import Fenced, Missing, Recorded, Refused, Submitted
from oneshot_queue.store.sweeping import Spared, Swept
from tests.properties.jobs import Attempt, Job, Plan, number_of

CREATED: Final = JobState.CREATED


@dataclass(slots=True)
class Model:
    """One queue.

    Attributes:
        delayed: Jobs that are not due, with the score that makes them so, once there is one.
        expiring: Likewise, jobs that are late.
        leases: Whether each registered lease lives; a condemned one does not.
        intents: By lease and job, the attempt that is to be interrupted.
        kept: Bytes of output of finished jobs.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    delayed: dict[str, int | None] = field(default_factory=dict)
    expiring: dict[str, int | None] = field(default_factory=dict)
    leases: dict[str, bool] = field(default_factory=dict)
    intents: dict[str, dict[str, int]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    places: int = 0

    # What an app does.

    def submit(self, job_id: str, plan: Plan, serial: int) -> Submitted:
        if job_id in self.jobs:
            return Submitted(created=False)
        job = self.jobs[job_id] = Job(serial, plan)
        if plan.is_delayed:
            self.delayed[job_id] = None
        else:
            self._line_up(job)
        if plan.expires:
            self.expiring[job_id] = None
        return Submitted(created=True)

    def interrupt(self, job_id: str) -> Any:
        job = self.jobs.get(job_id)
        if job is None:
            return Missing()
        if job.state.is_final:
            return "final", job.state
        job.is_interrupted = True
        if job.state is CREATED or not self.leases.get(job.lease or ""):
            if job.state is not CREATED:
                job.decided = job.token
            self._end(job_id, job, JobState.INTERRUPTED, "interrupted", job.bytes)
            return "ended", JobState.INTERRUPTED
        self.intents.setdefault(job.lease or "", {})[job_id] = job.attempt
        return "recorded", job.state

    # What a worker does with its lease.

    def register(self, lease: str) -> None:
        self.leases[lease] = True

    def restore(self, lease: str) -> None:
        self.leases.setdefault(lease, True)

    def renew(self, lease: str) -> Any:
        return dict(self.intents.get(lease, {})) if self.leases.get(lease) else Lost()

    def unregister(self, lease: str) -> bool:
        if self._pending(lease):
            return False
        self.leases.pop(lease, None)
        self.intents.pop(lease, None)
        return True

    # What a worker does with jobs.

    def claim(self, lease: str, free: int) -> list[str] | Lost:
        """Answers the ids of the jobs that are handed over."""
        if not self.leases.get(lease):
            return Lost()
        self.promote()
        waiting = [
            job_id
            for priority in Priority
            for job_id, job in self._in_order(priority)
            if job.state is CREATED and job.place
        ]
        for job_id in waiting[:free]:
            self._start(job_id, lease)
        return waiting[:free]

    def claim_one(self, job_id: str, lease: str) -> list[str] | Later | Lost:
        if not self.leases.get(lease):
            return Lost()
        self.promote()
        job = self.jobs.get(job_id)
        if job is None or job.state is not CREATED:
            return []
        if job_id in self.delayed:
            return Later(0)
        self._start(job_id, lease, is_out_of_turn=True)
        return [job_id]

    def reclaim(self, lease: str, known: set[str]) -> set[str]:
        return {job_id for job_id, job in self.jobs.items() if self._is_held(job, lease) and job.token not in known}

    def record(self, attempt: Attempt, event: str | None, sequence: int) -> Any:
        job = self.jobs.get(attempt.job_id)
        if job is None or not self._holds(job, attempt):
            return Fenced()
        if sequence <= job.sequence:
            return Recorded()
        to = job.state if event is None else TRANSITIONS.get((job.state, event))
        if to is None or to.is_final:
            return Refused(job.state)
        job.sequence = sequence
        if to is not job.state:
            job.rows.append((job.attempt, to, None))
        job.state = to
        return Recorded(to)

    def append(self, attempt: Attempt, ordinal: int) -> Recorded | Fenced:
        """One byte of output for each ordinal."""
        job = self.jobs.get(attempt.job_id)
        if job is None or not self._holds(job, attempt) or job.state.is_final:
            return Fenced()
        job.ordinal = job.bytes = max(job.ordinal, ordinal)
        return Recorded()

    def finish(self, attempt: Attempt, state: JobState, cause: str, kept: int, retry: str | None) -> Any:
        """``retry``: ``now``, ``later`` or none."""
        job = self.jobs.get(attempt.job_id)
        if job is None or job.decided == attempt.token:
            return Fenced()
        if self._has_returned(job, attempt):
            return Recorded()
        if not self._holds(job, attempt):
            return Fenced()
        if job.state.is_final:
            return Recorded()
        if retry is not None and not job.is_interrupted:
            self._retry(attempt.job_id, job, cause, kept, is_late=retry == "later")
            return Recorded(CREATED)
        if retry is not None:
            state, cause = JobState.INTERRUPTED, "interrupted"
        self._end(attempt.job_id, job, state, cause, kept)
        return Recorded(state)

    def give_back(self, attempt: Attempt, is_counted: bool) -> Any:
        job = self.jobs.get(attempt.job_id)
        if job is None or job.decided == attempt.token:
            return Fenced()
        if self._has_returned(job, attempt):
            return Recorded()
        if not self._holds(job, attempt) or job.state.is_final:
            return Fenced()
        job.returns += is_counted
        if job.is_interrupted:
            self._end(attempt.job_id, job, JobState.INTERRUPTED, "interrupted", 0)
        elif is_counted and job.returns >= MAX_RETURNS:
            self._end(attempt.job_id, job, JobState.FAILED, "poison", 0)
        else:
            self._return(attempt.job_id, job)
            job.rows.append((job.attempt, CREATED, "unstarted"))
            self._line_up(job)
            return Returned()
        return Recorded(job.state)

    def adopt(self, attempt: Attempt) -> bool:
        job = self.jobs.get(attempt.job_id)
        if job is None or job.state.is_final:
            return False
        if self._holds(job, attempt):
            return True
        if (
            job.state is not CREATED
            or job.attempt != attempt.number
            or number_of(job.token) >= number_of(attempt.token)
        ):
            return False
        self.delayed.pop(attempt.job_id, None)
        self._line_up(job)
        self._start(attempt.job_id, attempt.lease, cause="adopted", is_out_of_turn=True)
        job.token = attempt.token
        return True

    # What happens without a worker.

    def promote(self) -> int:
        due, late = _reached(self.delayed), _reached(self.expiring)
        for job_id in due:
            del self.delayed[job_id]
            self._line_up(self.jobs[job_id])
        for job_id in late:
            self._end(job_id, self.jobs[job_id], JobState.FAILED, "expired", 0)
        return len(due) + len(late)

    def sweep(self, lease: str, *, is_as_seen: bool) -> Swept | Spared:
        if lease not in self.leases or (self.leases[lease] and not is_as_seen):
            return Spared()
        lost = self._pending(lease)
        for job_id in lost:
            self._lose(job_id, self.jobs[job_id])
        self.leases.pop(lease)
        self.intents.pop(lease, None)
        return Swept(len(lost), is_done=True)

    def suspects(self, state: JobState) -> set[tuple[str, str]]:
        return {
            (job_id, job.lease or "")
            for job_id, job in self.jobs.items()
            if job.state is state and not self.leases.get(job.lease or "")
        }

    def decide(self, job_id: str, lease: str) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.state not in {JobState.RUNNING, JobState.IDLE}:
            return False
        if job.lease != lease or self.leases.get(lease):
            return False
        self._lose(job_id, job)
        return True

    def lose_consumer(self, lease: str) -> None:
        """Somebody deletes the consumer of a lease."""
        for job_id in self._pending(lease):
            self.jobs[job_id].is_pending = False

    def line_up_again(self, job_id: str) -> None:
        """An audit finds that a waiting job has no entry."""
        self._line_up(self.jobs[job_id])

    def forget(self, job_id: str) -> None:
        """Pruning reaches an ended job."""
        del self.jobs[job_id]
        self.kept.pop(job_id, None)

    # The parts.

    def stream(self, priority: Priority) -> list[str]:
        """The ids in a ready stream: what waits, and what is held."""
        return [job_id for job_id, _ in self._in_order(priority)]

    def pending(self) -> dict[str, str]:
        return {job_id: job.lease or "" for job_id, job in self.jobs.items() if job.is_pending}

    def _in_order(self, priority: Priority) -> list[tuple[str, Job]]:
        of_it = [(job_id, job) for job_id, job in self.jobs.items() if job.place and job.plan.priority is priority]
        return sorted(of_it, key=lambda each: each[1].place)

    def _pending(self, lease: str) -> list[str]:
        held = self.pending()
        return [each for priority in Priority for each in self.stream(priority) if held.get(each) == lease]

    @staticmethod
    def _holds(job: Job, attempt: Attempt) -> bool:
        return job.token == attempt.token and job.lease == attempt.lease

    @staticmethod
    def _is_held(job: Job, lease: str) -> bool:
        return job.is_pending and job.lease == lease

    @staticmethod
    def _has_returned(job: Job, attempt: Attempt) -> bool:
        return job.state is CREATED and job.token == attempt.token and job.lease is None

    def _line_up(self, job: Job) -> None:
        self.places += 1
        job.place = self.places

    def _start(self, job_id: str, lease: str, *, cause: str | None = None, is_out_of_turn: bool = False) -> None:
        job = self.jobs[job_id]
        job.state, job.lease, job.is_pending, job.is_out_of_turn = JobState.RUNNING, lease, True, is_out_of_turn
        job.rows.append((job.attempt, JobState.RUNNING, cause))
        self.expiring.pop(job_id, None)

    def _step_out(self, job_id: str, job: Job) -> None:
        job.place, job.is_pending = 0, False
        for waiting in (self.delayed, self.expiring):
            waiting.pop(job_id, None)
        if job.lease in self.intents:
            self.intents[job.lease].pop(job_id, None)

    def _end(self, job_id: str, job: Job, state: JobState, cause: str, kept: int) -> None:
        self._step_out(job_id, job)
        job.state = state
        job.rows.append((job.attempt, state, cause))
        if kept + job.kept_before:
            self.kept[job_id] = kept + job.kept_before

    def _return(self, job_id: str, job: Job) -> None:
        self._step_out(job_id, job)
        job.state, job.lease, job.sequence, job.ordinal, job.bytes = CREATED, None, 0, 0, 0

    def _retry(self, job_id: str, job: Job, cause: str, kept: int, *, is_late: bool) -> None:
        self._return(job_id, job)
        job.kept_before += kept
        job.rows += [(job.attempt, JobState.FAILED, cause), (job.attempt + 1, CREATED, "retry")]
        job.attempt += 1
        if is_late:
            self.delayed[job_id] = None
        else:
            self._line_up(job)

    def _lose(self, job_id: str, job: Job) -> None:
        job.decided = job.token
        if job.is_interrupted:
            self._end(job_id, job, JobState.INTERRUPTED, "interrupted", job.bytes)
        elif job.attempt <= job.plan.retries:
            self._retry(job_id, job, "worker_lost", job.bytes, is_late=job.plan.is_retried_late)
        else:
            self._end(job_id, job, JobState.FAILED, "worker_lost", job.bytes)


def _reached(scores: dict[str, int | None]) -> list[str]:
    return sorted((each for each, score in scores.items() if score is not None), key=lambda each: scores[each] or 0)
