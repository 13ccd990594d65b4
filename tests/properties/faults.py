"""Faults of workers and servers, and what sweepers and operators do."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from oneshot_queue.states import JobState
from oneshot_queue.store import claims, due, leases, retention
from oneshot_queue.store import sweep as sweep_store
from oneshot_queue.store.attempts import Fenced
from oneshot_queue.store.claims import RetryLater
from oneshot_queue.store.keys import GROUP
from oneshot_queue.store.leases import LeaseLost
from tests.properties.jobs import LATE_S, SOON_S, Attempt
from tests.properties.model import LEASE_S
from tests.properties.stage import SETTINGS, WORKERS, FinalCall, Worker, holder_of, pick
from tests.properties.work import Work, choices, is_old, times, workers
from tests.properties.world import expected_snapshot

HOUR_MS: Final = 3_600_000
steps_ms = st.sampled_from((1_000, 60_000, 3 * HOUR_MS, -1, -60_000, -3 * HOUR_MS))


class Faults(Work):
    """Crashes, outdated calls, time, operators, sweepers, and a server that is rolled back."""

    # Faults.

    @rule(worker=workers)
    @precondition(lambda self: self._active())
    def crash(self, worker: int) -> None:
        for attempt in self.workers[worker].attempts:
            attempt.is_over = True
        self.workers[worker] = self._new_worker()

    @rule(choice=choices)
    @precondition(lambda self: self.repeatable_calls)
    def repeat_an_outdated_call(self, choice: int) -> None:
        call, predict = pick(self.repeatable_calls, choice)
        self._run_both(call, predict, 1)

    @rule(step_ms=steps_ms)
    def step_the_clock(self, step_ms: int) -> None:
        """Step the clock forwards or back, by up to three hours: that alone changes no job and no lease.

        The model contains the consequences: delayed jobs become due later by as much as the clock went back, histories
        keep their order, tokens still grow, and no lease ends because of it.
        """
        self.model.now_ms += step_ms
        self.world.set_clock(self.model.now_ms)

    @rule(choice=choices)
    @precondition(lambda self: self.model.pending())
    def lose_a_consumer(self, choice: int) -> None:
        lease = pick(sorted(self.model.pending().values()), choice)
        held = {job_id for job_id, holder in self.model.pending().items() if holder == lease}
        # The group would deliver such an entry later, to the same lease.
        if any(self.model.jobs[each].is_out_of_turn for each in held):
            return
        for priority in {self.model.jobs[each].plan.priority for each in held}:
            self.world.redis.xgroup_delconsumer(self.keys.ready(priority), GROUP, lease)
        self.model.lose_consumer(lease)

    @rule(choice=choices)
    @precondition(lambda self: self._waiting())
    def lose_an_entry(self, choice: int) -> None:
        job_id = pick(self._waiting(), choice)
        entry = self.world.redis.hget(self.keys.job(job_id), "entry")
        assert self.world.redis.xdel(self.keys.ready(self.model.jobs[job_id].plan.priority), entry) == 1
        answer = self.world.run(sweep_store.audit(self.keys, JobState.CREATED, 0))
        assert (answer.repaired, answer.suspects) == (1, ())
        self.model.rejoin_queue(job_id)

    @rule(worker=workers, times=times)
    def reconnect(self, worker: int, times: int) -> None:
        """A worker whose connection was cut reports what it runs, and ends the jobs that it no longer holds."""
        who = self.workers[worker]
        if not self._restore(who, times):
            self._take_new_lease(who)
        for attempt in who.active:
            attempt.is_over = not self._adopt(attempt, times)

    # What sweepers do.

    @rule(worker=workers, is_turn_over=st.booleans(), times=times)
    def watch(self, worker: int, is_turn_over: bool, times: int) -> None:
        lease = self.workers[worker].lease
        if is_turn_over:
            self.world.redis.delete(self.world.key("sweeper"))
            self.model.sweeper = None
        call = sweep_store.watch(self.keys, lease, turn_s=LATE_S)
        self._run_both(call, lambda: self.model.watch(lease), times, is_repeatable=False)

    @rule(choice=choices)
    @precondition(lambda self: self.model.leases)
    def condemn(self, choice: int) -> None:
        """A sweeper condemns a lease, and dies before it has settled a job."""
        lease = self._some_lease(choice)
        self.world.run(sweep_store.condemn(self.keys, lease))
        self.model.condemn(lease)

    @rule(choice=choices, is_as_seen=st.booleans(), is_known_dead=st.booleans(), times=times)
    @precondition(lambda self: self.model.leases)
    def sweep(self, choice: int, is_as_seen: bool, is_known_dead: bool, times: int) -> None:
        lease = self._some_lease(choice)
        ends = self.world.redis.zscore(self.keys.workers, lease)
        seen = None if is_known_dead else str(int(ends) - (not is_as_seen))
        call = sweep_store.sweep(
            self.keys,
            lease,
            seen=seen,
            by="sweeper",
            error="gone",
            spread=1.0,
            is_confirmed=is_known_dead,
            settings=SETTINGS,
        )
        is_due = is_as_seen or is_known_dead

        def predict() -> object:
            return self.model.sweep(lease, is_as_seen=is_due, is_confirmed=is_known_dead)

        self._run_both(call, predict, times, is_repeatable=False)

    @rule(times=times)
    def promote(self, times: int) -> None:
        self._run_both(due.promote(self.keys, SETTINGS), self.model.promote, times, is_repeatable=False)

    @rule(state=st.sampled_from(sweep_store.AUDITED), settles=st.booleans(), times=times)
    def audit(self, state: JobState, settles: bool, times: int) -> None:
        answer = self.world.run(sweep_store.audit(self.keys, state, 0))
        assert answer.repaired == 0
        assert set(answer.suspects) == (self.model.suspects(state) if state is not JobState.CREATED else set())
        for job_id, lease in answer.suspects if settles else ():
            self._settle(job_id, lease, times)

    @rule(choice=choices, is_old=is_old, times=times)
    @precondition(lambda self: self.attempts)
    def declare_lost(self, choice: int, is_old: bool, times: int) -> None:
        attempt = self._some_attempt(choice, is_old=is_old)
        self._settle(attempt.job_id, attempt.lease, times)

    @rule(keep_s=st.sampled_from((0.001, SOON_S, LATE_S)), most=st.sampled_from((100, 1)))
    def prune(self, keep_s: float, most: int) -> None:
        limits = replace(SETTINGS, keep_completed_s=keep_s, keep_failed_s=keep_s, max_finished_jobs=most)
        forgotten = self.model.prune(keep_s, most)
        assert self.world.run(retention.prune(self.keys, limits)) == len(forgotten)
        for worker in self.workers:
            worker.sent = [each for each in worker.sent if each.attempt.serial not in forgotten]

    # A server that is rolled back.

    @rule()
    def save(self) -> None:
        self._save()

    @rule(order=st.permutations(range(WORKERS)), is_one_late=st.booleans(), times=times)
    def roll_back(self, order: list[int], is_one_late: bool, times: int) -> None:
        """Roll the server back; one worker may be cut off until the others have claimed."""
        kept, model = self.saved
        self.world.roll_back(kept)
        now_ms, self.model = self.model.now_ms, copy.deepcopy(model)
        self.model.now_ms = now_ms
        self.seen = self.world.look()
        assert self.seen == expected_snapshot(self.model)
        self.run_id = f"run-{next(self.run_ids)}"
        in_order = [self.workers[index] for index in order]
        reporting, late = (in_order[1:], in_order[0].active) if is_one_late else (in_order, [])
        for worker in reporting:
            is_live = self._restore(worker, times)
            answer = self.world.run(self._claim_call(worker, 3))
            if is_live:
                assert isinstance(answer, RetryLater)
            else:
                assert answer == LeaseLost()
                self._take_new_lease(worker)
        on_record = self._report_all(reporting, times)
        for attempt in late:
            attempt.is_forgotten = not self.model.knows(attempt)
        on_record += [attempt for attempt in late if not attempt.is_forgotten]
        self.begun &= {(attempt.serial, attempt.number) for attempt in on_record}
        self.world.redis.delete(self.world.key("settling"))

    def _restore(self, who: Worker, times: int) -> bool:
        """Register a lease that the server may have lost; returns false if it is condemned."""
        for _ in range(times):
            assert self.world.run(leases.restore(self.keys, who.lease, LEASE_S)) == self.model.now_ms
            self.model.restore(who.lease)
        return self.model.leases[who.lease] > 0

    def _report_all(self, workers: list[Worker], times: int) -> list[Attempt]:
        """Let every worker report its results and its running attempts, in rounds: one report may depend on another.

        Returns the attempts that are on record afterwards. All others have another owner, and end.
        """
        finals = [final for worker in workers for final in worker.sent]
        ended: list[Attempt] = []
        while new := [final.attempt for final in finals if final.attempt not in ended and self._repeat(final, times)]:
            ended += new
        active = [attempt for worker in workers for attempt in worker.active]
        running = [attempt for attempt in active if self._adopt(attempt, times)]
        for attempt in active:
            attempt.is_over = attempt not in running
        return ended + running

    def _repeat(self, final: FinalCall, times: int) -> bool:
        if final.is_end:
            self._adopt(final.attempt, times)
        answer = self._run_both(final.call, final.predict, times, is_repeatable=False)
        return not isinstance(answer, Fenced)

    def _adopt(self, attempt: Attempt, times: int) -> bool:
        call = claims.adopt(self.keys, attempt.job_id, holder_of(attempt), attempt=attempt.number, host="h", ago_ms=0)
        answer: bool = self._run_both(call, lambda: self.model.adopt(attempt), times, is_repeatable=False)
        attempt.is_forgotten = attempt.is_forgotten and not answer
        return answer

    def _some_lease(self, choice: int) -> str:
        """A lease, preferably one that holds jobs."""
        return pick(sorted(self.model.pending().values()) or sorted(self.model.leases), choice)

    def _settle(self, job_id: str, lease: str, times: int) -> None:
        call = sweep_store.settle(self.keys, job_id, lease, by="sweeper", error="gone", spread=1.0, settings=SETTINGS)
        self._run_both(call, lambda: self.model.settle(job_id, lease), times, is_repeatable=False)
