"""A queue on a server, its model, and three workers: how a step runs on both, and the check after it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store import claims, leases
from oneshot_queue.store.attempts import Fenced, Holder
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, RetryLater
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import LeaseLost
from tests.properties.jobs import Attempt, number_of
from tests.properties.model import LEASE_S, Model
from tests.properties.promises import check_snapshot, check_step
from tests.properties.world import Snapshot, World, expected_snapshot

SETTINGS: Final = Settings()
WORKERS: Final = 3
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FinalCall:
    """The last call for an attempt: its result, or its return to the queue."""

    attempt: Attempt
    call: Call[Any]
    predict: Callable[[], Any]
    is_end: bool


class Worker:
    """One worker process: its lease, and the attempts that it claimed.

    Attributes:
        sent: The final calls for its attempts, kept in case the server loses them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 1
        self.attempts: list[Attempt] = []
        self.sent: list[FinalCall] = []

    @property
    def lease(self) -> str:
        return f"{self.name}.{self.number}"

    @property
    def active(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if not attempt.is_over]

    @property
    def known(self) -> set[str]:
        return {attempt.token for attempt in self.attempts}


class Stage(RuleBasedStateMachine):
    """A queue with three workers.

    Attributes:
        begun: Serials of jobs and their attempts whose command may have started.
        attempts: All attempts that a worker ever received.
        repeatable_calls: Calls that can be repeated at any time.
        answers: Scripts and their kinds of replies, over all stories.
        saved: A copy of the queue and of the model.
    """

    server_url = ""
    answers: ClassVar[set[tuple[str, str]]] = set()
    numbers = itertools.count()
    saved: tuple[dict[bytes, tuple[int, bytes]], Model]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.server_url, QueueKeys("model", f"queue-{next(self.numbers)}"), self.answers)
        self.keys = self.world.keys
        self.model = Model()
        self.world.set_clock(self.model.now_ms)
        self.serials = itertools.count(1)
        self.names = itertools.count(1)
        self.run_ids = itertools.count(1)
        self.run_id = "run-0"
        self.begun: set[tuple[int, int]] = set()
        self.attempts: list[Attempt] = []
        self.repeatable_calls: list[tuple[Call[Any], Callable[[], Any]]] = []
        self.workers = [self._new_worker() for _ in range(WORKERS)]
        self._claim(self.workers[0], 1)  # registers the server with the queue
        self.seen: Snapshot = self.world.look()

    def teardown(self) -> None:
        self.world.close()

    # After every step.

    @invariant()
    def store_and_model_agree(self) -> None:
        seen = self.world.look()
        check_snapshot(seen)
        check_step(self.seen, seen)
        assert seen == expected_snapshot(self.model)
        self.seen = seen

    # Helpers.

    def _run_both(self, call: Call[Any], predict: Callable[[], Any], times: int, *, is_repeatable: bool = True) -> Any:
        """Run a call on both, again if its reply was lost; returns the first reply."""
        answers = []
        for _ in range(times):
            expected = predict()
            answers.append(self.world.run(call))
            assert answers[-1] == expected
        if is_repeatable:
            self.repeatable_calls.append((call, predict))
        return answers[0]

    def _write(self, attempt: Attempt, call: Call[Any], predict: Callable[[], Any], times: int) -> None:
        if not attempt.is_over:
            self._begin(attempt)
        if isinstance(self._run_both(call, predict, times), Fenced):
            attempt.is_over = True

    def _final_call(
        self, attempt: Attempt, call: Call[Any], predict: Callable[[], Any], times: int, *, is_end: bool = True
    ) -> None:
        if not attempt.is_over:
            if is_end:
                self._begin(attempt)
            for worker in self.workers:
                if worker.name == attempt.worker:
                    worker.sent.append(FinalCall(attempt, call, predict, is_end))
        attempt.is_over = True
        self._run_both(call, predict, times)

    def _begin(self, attempt: Attempt) -> None:
        attempt.has_begun = True
        if not attempt.is_forgotten:
            self.begun.add((attempt.serial, attempt.number))

    def _claim_call(self, who: Worker, free: int) -> Call[Claimed | RetryLater | LeaseLost]:
        return claims.claim(
            self.keys, lease=who.lease, worker="w", host="h", free=free, settings=SETTINGS, run_id=self.run_id
        )

    def _claim(self, who: Worker, free: int, *, is_lost: bool = False) -> None:
        answer = self.world.run(self._claim_call(who, free))
        self._take(who, answer, self.model.claim(who.lease, free), is_lost=is_lost)

    def _take(self, who: Worker, answer: Any, expected: Any, *, is_lost: bool = False) -> None:
        if not isinstance(answer, Claimed):
            assert answer == expected
            if isinstance(answer, LeaseLost) and not is_lost:
                self._take_new_lease(who)
            return
        assert (answer.set_aside, [claim.job_id for claim in answer.claims]) == (0, expected)
        for claim in answer.claims:
            job = self.model.jobs[claim.job_id]
            assert number_of(claim.token) > number_of(job.token)
            job.token = claim.token
            if not is_lost:
                self._receive(who, claim)

    def _receive(self, who: Worker, claim: Claim) -> None:
        job = self.model.jobs[claim.job_id]
        assert (claim.attempt, claim.token) == (job.attempt, job.token)
        assert (job.serial, job.attempt) not in self.begun, "an attempt was handed out again that may have started"
        attempt = Attempt(who.name, claim.job_id, job.serial, job.attempt, claim.token, who.lease)
        who.attempts.append(attempt)
        self.attempts.append(attempt)

    def _new_worker(self) -> Worker:
        worker = Worker(f"w{next(self.names)}")
        self._register(worker)
        return worker

    def _take_new_lease(self, who: Worker) -> None:
        for attempt in who.attempts:
            attempt.is_over = True
        who.number += 1
        self._register(who)

    def _register(self, who: Worker) -> None:
        assert self.world.run(leases.register(self.keys, who.lease, LEASE_S)) == self.model.now_ms
        self.model.register(who.lease)

    def _active(self) -> list[Attempt]:
        return [attempt for worker in self.workers for attempt in worker.active]

    def _save(self) -> None:
        self.saved = self.world.save(), copy.deepcopy(self.model)

    def _some_attempt(self, choice: int, *, is_old: bool) -> Attempt:
        """An attempt that is over, or one that runs; of the other kind if there is none."""
        active = self._active()
        over = [attempt for attempt in self.attempts if attempt.is_over]
        return pick((over or active) if is_old else (active or over), choice)

    def _waiting(self) -> list[str]:
        return [job_id for job_id, job in self.model.jobs.items() if job.state is JobState.CREATED and job.place]


def holder_of(attempt: Attempt) -> Holder:
    return Holder(attempt.token, attempt.lease, "w")


def pick(known: list[T], choice: int) -> T:
    return known[choice % len(known)]
