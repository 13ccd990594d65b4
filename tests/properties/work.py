"""The steps of apps and workers: also repeated after a lost reply, and by outdated holders."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.spec import JobSpec, Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import attempts, claims, enqueue, leases, presence, steering
from oneshot_queue.store.claims import Claimed
from oneshot_queue.store.enqueue import When
from oneshot_queue.store.leases import Renewed
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk
from tests.properties.jobs import LATE_S, SOON_S, Plan
from tests.properties.model import LEASE_S
from tests.properties.stage import SETTINGS, WORKERS, Stage, Worker, holder_of
from tests.support.builders import a_presence

IDS: Final = tuple(f"job-{number}" for number in range(6))

ids = st.sampled_from(IDS)
workers = st.integers(0, WORKERS - 1)
choices = st.integers(0, 1_000)
times = st.sampled_from((1, 1, 1, 2))
is_old = st.sampled_from((False, False, False, True))
agos_ms = st.sampled_from((0, 0, 5_000))
plans = st.builds(
    Plan,
    priority=st.sampled_from(Priority),
    retries=st.sampled_from((0, 0, 1, 2)),
    retry_s=st.sampled_from((0.0, SOON_S, LATE_S)),
    delay_s=st.sampled_from((None, None, None, SOON_S, LATE_S)),
    expires_s=st.sampled_from((None, None, None, SOON_S, LATE_S)),
)
events = st.sampled_from((None, "detect_silence", "detect_silence", "detect_activity", "detect_activity", "finish"))
results = st.sampled_from(
    (
        (JobState.COMPLETED, Cause.EXIT, None),
        (JobState.FAILED, Cause.SIGNAL, None),
        (JobState.FAILED, Cause.SIGNAL, 0.0),
        (JobState.FAILED, Cause.SIGNAL, SOON_S),
        (JobState.INTERRUPTED, Cause.INTERRUPTED, None),
    )
)
Result = tuple[JobState, Cause, float | None]


class Work(Stage):
    """Apps and workers."""

    @initialize(options=st.lists(plans, min_size=3, max_size=len(IDS)), free=st.integers(1, 3))
    def begin_with_jobs(self, options: list[Plan], free: int) -> None:
        for job_id, plan in zip(IDS, options, strict=False):
            self.enqueue(job_id, plan, 100, 1)
        self._save()  # a server may lose everything after this
        for worker in range(2):
            self.claim(worker, free, is_lost=False)

    # What an app does.

    @rule(job_id=ids, plan=plans, most=st.sampled_from((100, 100, 3)), times=times)
    def enqueue(self, job_id: str, plan: Plan, most: int, times: int) -> None:
        spec = JobSpec(
            ["true"],
            priority=plan.priority,
            retries=plan.retries,
            retry_delay=plan.retry_s,
            retry_max_delay=plan.retry_s,
        )
        when = When(delay_s=plan.delay_s, expires_s=plan.expires_s)
        call = enqueue.enqueue(self.keys, job_id, spec, by="app", max_length=most, when=when)
        self._run_both(
            call, lambda: self.model.enqueue(job_id, plan, next(self.serials), most), times, is_repeatable=False
        )

    @rule(job_id=ids, times=times)
    def interrupt(self, job_id: str, times: int) -> None:
        call = steering.interrupt(self.keys, job_id, grace=None, by="ops", reason=None, settings=SETTINGS)
        self._run_both(call, lambda: self.model.interrupt(job_id), times)

    # What a worker does.

    @rule(worker=workers, free=st.integers(1, 3), is_lost=st.booleans())
    def claim(self, worker: int, free: int, is_lost: bool) -> None:
        self._claim(self.workers[worker], free, is_lost=is_lost)

    @rule(worker=workers, job_id=ids, is_lost=st.booleans())
    def claim_one(self, worker: int, job_id: str, is_lost: bool) -> None:
        who = self.workers[worker]
        call = claims.claim_one(
            self.keys, job_id, lease=who.lease, worker="w", host="h", settings=SETTINGS, run_id=self.run_id
        )
        self._take(who, self.world.run(call), self.model.claim_one(job_id, who.lease), is_lost=is_lost)

    @rule(worker=workers, times=times)
    def reclaim(self, worker: int, times: int) -> None:
        """Read back a claim whose reply was lost; this reply may be lost too."""
        who = self.workers[worker]
        call = claims.reclaim(self.keys, lease=who.lease, known=who.known)
        for is_lost in [True] * (times - 1) + [False]:
            answer = self.world.run(call)
            assert isinstance(answer, Claimed)
            assert {claim.job_id for claim in answer.claims} == self.model.reclaim(who.lease, who.known)
            for claim in () if is_lost else answer.claims:
                self._receive(who, claim)

    @rule(choice=choices, event=events, ago_ms=agos_ms, is_old=is_old, times=times)
    @precondition(lambda self: self.attempts)
    def record(self, choice: int, event: str | None, ago_ms: int, is_old: bool, times: int) -> None:
        attempt = self._some_attempt(choice, is_old=is_old)
        attempt.sequence += 1
        sequence = attempt.sequence
        call = attempts.record(
            self.keys,
            attempt.job_id,
            holder_of(attempt),
            sequence=sequence,
            event=event,
            ago_ms=ago_ms,
            fields={"pid": 7},
        )
        self._write(attempt, call, lambda: self.model.record(attempt, event, sequence, ago_ms), times)

    @rule(choice=choices, is_old=is_old, times=times)
    @precondition(lambda self: self.attempts)
    def append(self, choice: int, is_old: bool, times: int) -> None:
        attempt = self._some_attempt(choice, is_old=is_old)
        attempt.ordinal += 1
        ordinal = attempt.ordinal
        call = attempts.append_output(
            self.keys,
            attempt.job_id,
            attempt.number,
            holder_of(attempt),
            [(Chunk(ordinal, OutputStream.STDOUT, ordinal - 1, 0, b"x"), True)],
            total=ordinal,
            dropped=0,
            now_ms=0,
            tail_from=(0, 0),
        )
        self._write(attempt, call, lambda: self.model.append(attempt, ordinal), times)

    @rule(choice=choices, result=results, ago_ms=agos_ms, is_old=is_old, times=times)
    @precondition(lambda self: self.attempts)
    def finish(self, choice: int, result: Result, ago_ms: int, is_old: bool, times: int) -> None:
        attempt = self._some_attempt(choice, is_old=is_old)
        state, cause, retry_s = result
        kept = attempt.ordinal
        call = attempts.finish(
            self.keys,
            attempt.job_id,
            holder_of(attempt),
            Outcome(state, cause, signal=9),
            ago_ms=ago_ms,
            inline_output=b"",
            kept=kept,
            fields={},
            settings=SETTINGS,
            retry_after_s=retry_s,
        )
        self._final_call(
            attempt, call, lambda: self.model.finish(attempt, state, cause.value, kept, retry_s, ago_ms), times
        )

    @rule(choice=choices, is_counted=st.booleans(), is_old=is_old, times=times)
    @precondition(lambda self: self.attempts)
    def give_back(self, choice: int, is_counted: bool, is_old: bool, times: int) -> None:
        attempt = self._some_attempt(choice, is_old=is_old)
        if attempt.has_begun:
            return
        call = claims.give_back(
            self.keys, attempt.job_id, holder_of(attempt), why="unstarted", is_counted=is_counted, settings=SETTINGS
        )
        self._final_call(attempt, call, lambda: self.model.give_back(attempt, is_counted), times, is_end=False)

    @rule(worker=workers, times=times)
    def renew(self, worker: int, times: int) -> None:
        who = self.workers[worker]
        self._show_presence(who, times)
        answer = self.world.run(leases.renew(self.keys, who.lease, LEASE_S))
        expected = self.model.renew(who.lease)
        if isinstance(answer, Renewed):
            assert {intent.job_id: intent.attempt for intent in answer.intents} == expected
            assert answer.now_ms == self.model.now_ms
        else:
            assert answer == expected
            self._take_new_lease(who)

    @rule(worker=workers, times=times)
    def leave(self, worker: int, times: int) -> None:
        who = self.workers[worker]
        if not all(attempt.is_over for attempt in who.attempts):
            return
        call = leases.unregister(self.keys, who.lease)
        if self._run_both(call, lambda: self.model.unregister(who.lease), times, is_repeatable=False):
            self.workers[worker] = self._new_worker()

    def _show_presence(self, who: Worker, times: int) -> None:
        """Presences belong to no queue: the last one written is the one that is read."""
        running = tuple(attempt.job_id for attempt in who.active)
        sign = a_presence(id=f"{self.keys.queue}-{who.name}", running=running)
        for _ in range(times):
            self.world.run(presence.show_presence(self.keys.namespace, sign))
        assert self.world.run(presence.presences(self.keys.namespace, [sign.id])) == [sign]
        self.world.run(presence.end_presence(self.keys.namespace, sign.id))
