"""What befalls workers and servers, and what is done about it without a worker."""

from __future__ import annotations

import copy

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from oneshot_queue.states import JobState
from oneshot_queue.store import claiming, job_store, lease_store, sweeping
from oneshot_queue.store.claiming import Later, Lost
from oneshot_queue.store.job_store import Fenced
from oneshot_queue.store.keys import GROUP
from tests.properties.jobs import Attempt
from tests.properties.stage import SETTINGS, WORKERS, LastWord, Worker, holder_of, pick
from tests.properties.work import Work, choices, ids, workers
from tests.properties.world import foretold


class Faults(Work):
    """Crashes, old words, time, operators, sweepers, and a server that is set back."""

    # What befalls them.

    @rule(worker=workers)
    def crash(self, worker: int) -> None:
        for attempt in self.workers[worker].attempts:
            attempt.is_over = True
        self.workers[worker] = self._new_worker()

    @rule(choice=choices)
    @precondition(lambda self: self.said)
    def say_again_what_is_out_of_date(self, choice: int) -> None:
        call, foretell = pick(self.said, choice)
        self._say(call, foretell, 1)

    @rule(job_id=ids, is_late=st.booleans())
    def let_time_pass(self, job_id: str, is_late: bool) -> None:
        scores, name, field = (
            (self.model.expiring, "expiring", "expires") if is_late else (self.model.delayed, "delayed", "due")
        )
        if job_id not in scores:
            return
        score = scores[job_id] = next(self.scores)
        self.world.redis.zadd(self.world.key(name), {job_id: score})
        self.world.redis.hset(self.keys.job(job_id), field, score)

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
        answer = self.world.run(sweeping.audit(self.keys, JobState.CREATED, 0))
        assert (answer.mended, answer.suspects) == (1, ())
        self.model.line_up_again(job_id)

    # What is done without a worker.

    @rule(choice=choices, is_as_seen=st.booleans(), is_known_dead=st.booleans())
    @precondition(lambda self: self.model.leases)
    def sweep(self, choice: int, is_as_seen: bool, is_known_dead: bool) -> None:
        lease = pick(sorted(self.model.pending().values()) or sorted(self.model.leases), choice)
        ends = self.world.redis.zscore(self.keys.workers, lease)
        seen = None if is_known_dead else str(int(ends) - (not is_as_seen))
        call = sweeping.sweep(
            self.keys, lease, seen=seen, by="sweeper", error="gone", spread=1.0, is_confirmed=False, settings=SETTINGS
        )
        self._say(call, lambda: self.model.sweep(lease, is_as_seen=is_as_seen or is_known_dead), 1, is_repeatable=False)

    @rule()
    def promote(self) -> None:
        answer = self.world.run(job_store.promote(self.keys, SETTINGS))
        assert answer.count == self.model.promote()

    @rule(state=st.sampled_from(sweeping.AUDITED), is_decided=st.booleans())
    def audit(self, state: JobState, is_decided: bool) -> None:
        answer = self.world.run(sweeping.audit(self.keys, state, 0))
        assert answer.mended == 0
        assert set(answer.suspects) == (self.model.suspects(state) if state is not JobState.CREATED else set())
        for job_id, lease in answer.suspects if is_decided else ():
            self._decide(job_id, lease)

    @rule(job_id=ids, choice=choices)
    @precondition(lambda self: self.attempts)
    def decide(self, job_id: str, choice: int) -> None:
        self._decide(job_id, pick(self.attempts, choice).lease)

    @rule(job_id=ids)
    def forget(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or not job.state.is_final:
            return
        self.world.redis.zadd(self.keys.state(job.state), {job_id: 1})
        assert self.world.run(job_store.prune(self.keys, SETTINGS)) == 1
        self.model.forget(job_id)
        for worker in self.workers:
            worker.sent = [each for each in worker.sent if each.attempt.serial != job.serial]

    # A server that is set back.

    @rule()
    def save(self) -> None:
        self.saved = self.world.save(), copy.deepcopy(self.model)

    @rule(order=st.permutations(range(WORKERS)))
    @precondition(lambda self: self.saved is not None)
    def set_back(self, order: list[int]) -> None:
        assert self.saved is not None
        kept, model = self.saved
        self.world.set_back(kept)
        self.model = copy.deepcopy(model)
        self.seen = self.world.look()
        assert self.seen == foretold(self.model)
        self.run_id = f"run-{next(self.run_ids)}"
        in_order = [self.workers[index] for index in order]
        for worker in in_order:
            self.world.run(lease_store.restore(self.keys, worker.lease, 30.0))
            self.model.restore(worker.lease)
            answer = self.world.run(self._claim_call(worker, 3))
            assert isinstance(answer, Later if self.model.leases[worker.lease] else Lost)
        on_record = self._tell_all(in_order)
        self.begun &= {(attempt.serial, attempt.number) for attempt in on_record}
        self.world.redis.delete(self.world.key("settling"))

    def _tell_all(self, workers: list[Worker]) -> list[Attempt]:
        """Every worker says what has ended and what runs, in rounds: what one says may be what another waits for.

        Answers the attempts that are on record then; the others are another's, and end here.
        """
        words = [word for worker in workers for word in worker.sent]
        ended: list[Attempt] = []
        while new := [word.attempt for word in words if word.attempt not in ended and self._repeat(word)]:
            ended += new
        running = [attempt for attempt in self._active() if self._adopt(attempt)]
        for attempt in self._active():
            attempt.is_over = attempt not in running
        return ended + running

    def _repeat(self, word: LastWord) -> bool:
        if word.is_end:
            self._adopt(word.attempt)
        answer, expected = self.world.run(word.call), word.foretell()
        assert answer == expected
        return not isinstance(answer, Fenced)

    def _adopt(self, attempt: Attempt) -> bool:
        call = claiming.adopt(self.keys, attempt.job_id, holder_of(attempt), attempt=attempt.number, host="h", ago_ms=0)
        answer = self.world.run(call)
        assert answer == self.model.adopt(attempt)
        return answer

    def _decide(self, job_id: str, lease: str) -> None:
        call = sweeping.decide(self.keys, job_id, lease, by="sweeper", error="gone", spread=1.0, settings=SETTINGS)
        self._say(call, lambda: self.model.decide(job_id, lease), 1, is_repeatable=False)
