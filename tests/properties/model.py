"""A model of the store in plain dictionaries: each method is one call, changes the model and predicts the reply.

It uses no Redis and no Lua, and shares only the table of the state machine with the product. It takes tokens from the
replies of the store, and predicts everything else.
"""

from __future__ import annotations

import math
from typing import Any, Final

from oneshot_queue.spec import Priority
from oneshot_queue.states import TRANSITIONS, JobState
from oneshot_queue.store.attempts import Fenced, Recorded, Refused
from oneshot_queue.store.claims import MAX_RETURNS, RetryLater, Returned
from oneshot_queue.store.due import Promoted
from oneshot_queue.store.enqueue import Enqueued, Full
from oneshot_queue.store.leases import LeaseLost
from oneshot_queue.store.steering import AlreadyFinal, Ended, IntentRecorded, Missing
from oneshot_queue.store.sweep import LeaseSeen, NotSwept, Swept
from tests.properties.jobs import Attempt, Job, Plan, Row, number_of
from tests.properties.ledger import CREATED, Ledger, reached

LEASE_S: Final = 30.0
_FINAL: Final = (JobState.INTERRUPTED, JobState.COMPLETED, JobState.FAILED)


class Model(Ledger):
    """One queue: its calls and their replies."""

    __slots__ = ()

    # Calls of an app.

    def enqueue(self, job_id: str, plan: Plan, serial: int, most: int) -> Enqueued | Full:
        if job_id in self.jobs:
            return Enqueued(created=False)
        length = len(self.delayed) + sum(len(self.stream(priority)) for priority in Priority)
        if length >= most:
            return Full(length)
        job = self.jobs[job_id] = Job(serial, plan, [Row(self.now_ms, 1, CREATED, None)])
        if plan.delay_s is None:
            self._join_queue(job)
        else:
            self.delayed[job_id] = self.later(plan.delay_s)
        if plan.expires_s is not None:
            self.expiring[job_id] = self.later(plan.expires_s)
        return Enqueued(created=True)

    def interrupt(self, job_id: str) -> Any:
        job = self.jobs.get(job_id)
        if job is None:
            return Missing()
        if job.state.is_final:
            return AlreadyFinal(job.state, job.changed_ms)
        job.is_interrupted = True
        if job.state is CREATED or not self.leases.get(job.lease or ""):
            if job.state is not CREATED:
                job.settled_token, job.is_confirmed = job.token, False
            self._end(job_id, job, JobState.INTERRUPTED, "interrupted", job.bytes)
            return Ended(JobState.INTERRUPTED, job.changed_ms, job.is_confirmed)
        self.intents.setdefault(job.lease or "", {})[job_id] = job.attempt
        return IntentRecorded(job.state, "w")

    # Calls of a worker for its lease.

    def register(self, lease: str) -> None:
        self.leases[lease] = self.later(LEASE_S)

    def restore(self, lease: str) -> None:
        self.leases.setdefault(lease, self.later(LEASE_S))

    def renew(self, lease: str) -> Any:
        """No clock ends a lease: it lives until a sweeper condemns it."""
        if not self.leases.get(lease):
            return LeaseLost()
        self.leases[lease] = self.later(LEASE_S)
        return dict(self.intents.get(lease, {}))

    def unregister(self, lease: str) -> bool:
        if self._pending(lease):
            return False
        self.leases.pop(lease, None)
        self.intents.pop(lease, None)
        self._end_sweeping(lease)
        return True

    # Calls of a worker for jobs.

    def claim(self, lease: str, free: int) -> list[str] | LeaseLost:
        """Returns the ids of the jobs that are handed out."""
        if not self.leases.get(lease):
            return LeaseLost()
        self.promote()
        waiting = [
            job_id
            for priority in Priority
            for job_id, job in self._in_order(priority)
            if job.state is CREATED and job.place
        ]
        share = max(1, math.ceil(len(waiting) / len(self.leases)))
        taken = waiting[: min(free, share)]
        for job_id in taken:
            self._start(job_id, lease)
        return taken

    def claim_one(self, job_id: str, lease: str) -> list[str] | RetryLater | LeaseLost:
        if not self.leases.get(lease):
            return LeaseLost()
        self.promote()
        job = self.jobs.get(job_id)
        if job is None or job.state is not CREATED:
            return []
        if job_id in self.delayed:
            return RetryLater((self.delayed[job_id] - self.now_ms) / 1000)
        self._start(job_id, lease, is_out_of_turn=True)
        return [job_id]

    def reclaim(self, lease: str, known: set[str]) -> set[str]:
        return {job_id for job_id, job in self.jobs.items() if self._is_held(job, lease) and job.token not in known}

    def record(self, attempt: Attempt, event: str | None, sequence: int, ago_ms: int) -> Any:
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
            self._add_row(job, to, ago_ms=ago_ms)
        job.state = to
        return Recorded(to)

    def append(self, attempt: Attempt, ordinal: int) -> Recorded | Fenced:
        """Each ordinal stands for one byte of output."""
        job = self.jobs.get(attempt.job_id)
        if job is None or not self._holds(job, attempt) or job.state.is_final:
            return Fenced()
        job.ordinal = job.bytes = max(job.ordinal, ordinal)
        return Recorded()

    def finish(
        self, attempt: Attempt, state: JobState, cause: str, kept: int, retry_s: float | None, ago_ms: int
    ) -> Any:
        job = self.jobs.get(attempt.job_id)
        if job is None or job.settled_token == attempt.token:
            return Fenced()
        if self._has_returned(job, attempt):
            return Recorded()
        if not self._holds(job, attempt):
            return Fenced()
        if job.state.is_final:
            return Recorded()
        if retry_s is not None and not job.is_interrupted:
            self._retry(attempt.job_id, job, cause, kept, retry_s, ago_ms=ago_ms)
            return Recorded(CREATED)
        if retry_s is not None:
            state, cause = JobState.INTERRUPTED, "interrupted"
        self._end(attempt.job_id, job, state, cause, kept, ago_ms=ago_ms)
        return Recorded(state)

    def give_back(self, attempt: Attempt, is_counted: bool) -> Any:
        job = self.jobs.get(attempt.job_id)
        if job is None or job.settled_token == attempt.token:
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
            self._give_back(attempt.job_id, job)
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
        self._join_queue(job)
        self._start(attempt.job_id, attempt.lease, cause="adopted", is_out_of_turn=True)
        job.token = attempt.token
        return True

    # Calls of sweepers and operators.

    def promote(self) -> Promoted:
        due, late = reached(self.delayed, self.now_ms), reached(self.expiring, self.now_ms)
        for job_id in due:
            del self.delayed[job_id]
            self._join_queue(self.jobs[job_id])
        for job_id in late:
            self._end(job_id, self.jobs[job_id], JobState.FAILED, "expired", 0)
        waits = [at_ms - self.now_ms for at_ms in (*self.delayed.values(), *self.expiring.values())]
        return Promoted(len(due) + len(late), min(waits) / 1000 if waits else None)

    def watch(self, lease: str) -> tuple[LeaseSeen, ...] | None:
        if self.sweeper not in {None, lease}:
            return None
        self.sweeper = lease
        in_order = sorted((ends_ms, each) for each, ends_ms in self.leases.items())
        return tuple(LeaseSeen(each, str(ends_ms), LEASE_S) for ends_ms, each in in_order)

    def _end_sweeping(self, lease: str) -> None:
        if self.sweeper == lease:
            self.sweeper = None

    def condemn(self, lease: str) -> None:
        if lease in self.leases:
            self.leases[lease] = 0

    def sweep(self, lease: str, *, is_as_seen: bool, is_confirmed: bool) -> Swept | NotSwept:
        if lease not in self.leases or (self.leases[lease] and not is_as_seen):
            return NotSwept()
        lost = self._pending(lease)
        for job_id in lost:
            self._lose(job_id, self.jobs[job_id], is_confirmed=is_confirmed)
        self.leases.pop(lease)
        self.intents.pop(lease, None)
        self._end_sweeping(lease)
        return Swept(len(lost), is_done=True)

    def suspects(self, state: JobState) -> set[tuple[str, str]]:
        return {
            (job_id, job.lease or "")
            for job_id, job in self.jobs.items()
            if job.state is state and not self.leases.get(job.lease or "")
        }

    def settle(self, job_id: str, lease: str) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.state not in {JobState.RUNNING, JobState.IDLE}:
            return False
        if job.lease != lease or self.leases.get(lease):
            return False
        self._lose(job_id, job)
        return True

    def lose_consumer(self, lease: str) -> None:
        """An operator deletes the consumer of a lease."""
        for job_id in self._pending(lease):
            self.jobs[job_id].is_pending = False

    def rejoin_queue(self, job_id: str) -> None:
        """An audit finds that a waiting job has no entry."""
        self._join_queue(self.jobs[job_id])

    def prune(self, keep_s: float, most: int) -> list[int]:
        """Returns the serials of the deleted jobs: first those that are too old, then those too many."""
        ended = [
            (job.changed_ms, _FINAL.index(job.state), job_id) for job_id, job in self.jobs.items() if job.state.is_final
        ]
        old = [each for each in ended if each[0] <= self.later(-keep_s)]
        left = sorted(set(ended) - set(old))
        return [self._forget(job_id) for _, _, job_id in [*old, *left[: max(0, len(left) - most)]]]

    def examine(self, *, repairs: bool) -> set[tuple[str, str]]:
        """The anomalies of a sound queue, which wait for a sweeper or an operator: codes and job ids."""
        finds = set()
        for job_id, job in self.jobs.items():
            if job.state.is_final:
                finds |= set() if job.is_confirmed else {("unconfirmed", job_id)}
            elif job.state is not CREATED and not self.leases.get(job.lease or ""):
                finds.add(("running-without-lease", job_id))
            elif job.state is not CREATED and not job.is_pending:
                finds.add(("running-without-entry", job_id))
                job.is_pending = repairs
        return finds
