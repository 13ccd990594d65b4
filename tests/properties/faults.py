"""What befalls workers and servers, and what is done about it without a worker."""

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
from tests.properties.stage import SETTINGS, WORKERS, LastWord, Worker, holder_of, pick
from tests.properties.work import Work, choices, is_old, times, workers
from tests.properties.world import foretold

HOUR_MS: Final = 3_600_000
steps_ms = st.sampled_from((1_000, 60_000, 3 * HOUR_MS, -1, -60_000, -3 * HOUR_MS))


class Faults(Work):
    """Crashes, old words, time, operators, sweepers, and a server that is set back."""

    # What befalls them.

    @rule(worker=workers)
    @precondition(lambda self: self._active())
    def crash(self, worker: int) -> None:
        for attempt in self.workers[worker].attempts:
            attempt.is_over = True
        self.workers[worker] = self._new_worker()

    @rule(choice=choices)
    @precondition(lambda self: self.said)
    def say_again_what_is_out_of_date(self, choice: int) -> None:
        call, foretell = pick(self.said, choice)
        self._say(call, foretell, 1)

    @rule(step_ms=steps_ms)
    def step_the_clock(self, step_ms: int) -> None:
        """It may be an hour ahead at once, or behind: that alone does nothing to any job or lease.

        What follows from it the model says: what waits is due as much later as the clock went back, all that ever was
        written keeps its order, tokens grow all the same, and no lease is over because of it.
        """
        self.model.now_ms += step_ms
        self.world.set_clock(self.model.now_ms)

    @rule(choice=choices)
    @precondition(lambda self: self.model.pending())
    def lose_a_consumer(self, choice: int) -> None:
        lease = pick(sorted(self.model.pending().values()), choice)
        held = {job_id for job_id, holder in self.model.pending().items() if holder == lease}
        # The group would come to such an entry again, and hand it back to the lease.
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
        self.model.line_up_again(job_id)

    @rule(worker=workers, times=times)
    def reconnect(self, worker: int, times: int) -> None:
        """A worker whose connection was cut says what it runs; what is another's, or nobody's, it ends."""
        who = self.workers[worker]
        if not self._restore(who, times):
            self._lease_anew(who)
        for attempt in who.active:
            attempt.is_over = not self._adopt(attempt, times)

    # What is done without a worker.

    @rule(worker=workers, is_turn_over=st.booleans(), times=times)
    def watch(self, worker: int, is_turn_over: bool, times: int) -> None:
        lease = self.workers[worker].lease
        if is_turn_over:
            self.world.redis.delete(self.world.key("sweeper"))
            self.model.sweeper = None
        call = sweep_store.watch(self.keys, lease, turn_s=LATE_S)
        self._say(call, lambda: self.model.watch(lease), times, is_repeatable=False)

    @rule(choice=choices)
    @precondition(lambda self: self.model.leases)
    def condemn(self, choice: int) -> None:
        """A sweeper condemns a lease, and dies before it has decided a job."""
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

        def foretell() -> object:
            return self.model.sweep(lease, is_as_seen=is_due, is_confirmed=is_known_dead)

        self._say(call, foretell, times, is_repeatable=False)

    @rule(times=times)
    def promote(self, times: int) -> None:
        self._say(due.promote(self.keys, SETTINGS), self.model.promote, times, is_repeatable=False)

    @rule(state=st.sampled_from(sweep_store.AUDITED), is_decided=st.booleans(), times=times)
    def audit(self, state: JobState, is_decided: bool, times: int) -> None:
        answer = self.world.run(sweep_store.audit(self.keys, state, 0))
        assert answer.repaired == 0
        assert set(answer.suspects) == (self.model.suspects(state) if state is not JobState.CREATED else set())
        for job_id, lease in answer.suspects if is_decided else ():
            self._decide(job_id, lease, times)

    @rule(choice=choices, is_old=is_old, times=times)
    @precondition(lambda self: self.attempts)
    def decide(self, choice: int, is_old: bool, times: int) -> None:
        attempt = self._some_attempt(choice, is_old=is_old)
        self._decide(attempt.job_id, attempt.lease, times)

    @rule(keep_s=st.sampled_from((0.001, SOON_S, LATE_S)), most=st.sampled_from((100, 1)))
    def prune(self, keep_s: float, most: int) -> None:
        limits = replace(SETTINGS, keep_completed_s=keep_s, keep_failed_s=keep_s, max_finished_jobs=most)
        forgotten = self.model.prune(keep_s, most)
        assert self.world.run(retention.prune(self.keys, limits)) == len(forgotten)
        for worker in self.workers:
            worker.sent = [each for each in worker.sent if each.attempt.serial not in forgotten]

    # A server that is set back.

    @rule()
    def save(self) -> None:
        self._save()

    @rule(order=st.permutations(range(WORKERS)), is_one_late=st.booleans(), times=times)
    def set_back(self, order: list[int], is_one_late: bool, times: int) -> None:
        """One worker may be cut off for so long that the others claim before it says anything."""
        kept, model = self.saved
        self.world.set_back(kept)
        now_ms, self.model = self.model.now_ms, copy.deepcopy(model)
        self.model.now_ms = now_ms
        self.seen = self.world.look()
        assert self.seen == foretold(self.model)
        self.run_id = f"run-{next(self.run_ids)}"
        in_order = [self.workers[index] for index in order]
        heard, late = (in_order[1:], in_order[0].active) if is_one_late else (in_order, [])
        for worker in heard:
            is_live = self._restore(worker, times)
            answer = self.world.run(self._claim_call(worker, 3))
            if is_live:
                assert isinstance(answer, RetryLater)
            else:
                assert answer == LeaseLost()
                self._lease_anew(worker)
        on_record = self._tell_all(heard, times)
        for attempt in late:
            attempt.is_forgotten = not self.model.knows(attempt)
        on_record += [attempt for attempt in late if not attempt.is_forgotten]
        self.begun &= {(attempt.serial, attempt.number) for attempt in on_record}
        self.world.redis.delete(self.world.key("settling"))

    def _restore(self, who: Worker, times: int) -> bool:
        """Register a lease that may be forgotten; answers false if it is condemned."""
        for _ in range(times):
            assert self.world.run(leases.restore(self.keys, who.lease, LEASE_S)) == self.model.now_ms
            self.model.restore(who.lease)
        return self.model.leases[who.lease] > 0

    def _tell_all(self, workers: list[Worker], times: int) -> list[Attempt]:
        """Every worker says what has ended and what runs, in rounds: what one says may be what another waits for.

        Answers the attempts that are on record then; the others are another's, and end here.
        """
        words = [word for worker in workers for word in worker.sent]
        ended: list[Attempt] = []
        while new := [word.attempt for word in words if word.attempt not in ended and self._repeat(word, times)]:
            ended += new
        active = [attempt for worker in workers for attempt in worker.active]
        running = [attempt for attempt in active if self._adopt(attempt, times)]
        for attempt in active:
            attempt.is_over = attempt not in running
        return ended + running

    def _repeat(self, word: LastWord, times: int) -> bool:
        if word.is_end:
            self._adopt(word.attempt, times)
        answer = self._say(word.call, word.foretell, times, is_repeatable=False)
        return not isinstance(answer, Fenced)

    def _adopt(self, attempt: Attempt, times: int) -> bool:
        call = claims.adopt(self.keys, attempt.job_id, holder_of(attempt), attempt=attempt.number, host="h", ago_ms=0)
        answer: bool = self._say(call, lambda: self.model.adopt(attempt), times, is_repeatable=False)
        attempt.is_forgotten = attempt.is_forgotten and not answer
        return answer

    def _some_lease(self, choice: int) -> str:
        """One that holds jobs, if there is any."""
        return pick(sorted(self.model.pending().values()) or sorted(self.model.leases), choice)

    def _decide(self, job_id: str, lease: str, times: int) -> None:
        call = sweep_store.settle(self.keys, job_id, lease, by="sweeper", error="gone", spread=1.0, settings=SETTINGS)
        self._say(call, lambda: self.model.decide(job_id, lease), times, is_repeatable=False)
