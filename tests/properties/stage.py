"""A queue on a server, its model, and three workers: how a step is taken on both, and what is checked after it."""

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
from tests.properties.promises import check_alone, check_step
from tests.properties.world import Seen, World, foretold

SETTINGS: Final = Settings()
WORKERS: Final = 3
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LastWord:
    """What was said of an attempt when it was over: that it ended, or that it never began."""

    attempt: Attempt
    call: Call[Any]
    foretell: Callable[[], Any]
    is_end: bool


class Worker:
    """One worker process: its lease, and what it was handed under it.

    Attributes:
        sent: The last word on an attempt, kept in case the server forgets it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 1
        self.attempts: list[Attempt] = []
        self.sent: list[LastWord] = []

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
        begun: Jobs, by serial, and attempts of them whose command may have been started.
        attempts: All that was ever handed over and received.
        said: What can be said again at any time.
        answers: Which script has answered what, in all stories.
        saved: A copy of the queue, and of the model.
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
        self.said: list[tuple[Call[Any], Callable[[], Any]]] = []
        self.workers = [self._new_worker() for _ in range(WORKERS)]
        self._claim(self.workers[0], 1)  # the queue knows its server
        self.seen: Seen = self.world.look()

    def teardown(self) -> None:
        self.world.close()

    # After every step.

    @invariant()
    def store_and_model_say_the_same(self) -> None:
        seen = self.world.look()
        check_alone(seen)
        check_step(self.seen, seen)
        assert seen == foretold(self.model)
        self.seen = seen

    # The parts.

    def _say(self, call: Call[Any], foretell: Callable[[], Any], times: int, *, is_repeatable: bool = True) -> Any:
        """Say it, and once more if its reply was lost; returns the first answer."""
        answers = []
        for _ in range(times):
            expected = foretell()
            answers.append(self.world.run(call))
            assert answers[-1] == expected
        if is_repeatable:
            self.said.append((call, foretell))
        return answers[0]

    def _write(self, attempt: Attempt, call: Call[Any], foretell: Callable[[], Any], times: int) -> None:
        if not attempt.is_over:
            self._begin(attempt)
        if isinstance(self._say(call, foretell, times), Fenced):
            attempt.is_over = True

    def _last_word(
        self, attempt: Attempt, call: Call[Any], foretell: Callable[[], Any], times: int, *, is_end: bool = True
    ) -> None:
        if not attempt.is_over:
            if is_end:
                self._begin(attempt)
            for worker in self.workers:
                if worker.name == attempt.worker:
                    worker.sent.append(LastWord(attempt, call, foretell, is_end))
        attempt.is_over = True
        self._say(call, foretell, times)

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
                self._lease_anew(who)
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
        assert (job.serial, job.attempt) not in self.begun, "an attempt was handed out that had begun"
        attempt = Attempt(who.name, claim.job_id, job.serial, job.attempt, claim.token, who.lease)
        who.attempts.append(attempt)
        self.attempts.append(attempt)

    def _new_worker(self) -> Worker:
        worker = Worker(f"w{next(self.names)}")
        self._register(worker)
        return worker

    def _lease_anew(self, who: Worker) -> None:
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
        """One that is over, or one that runs; of the other kind if there is none."""
        active = self._active()
        over = [attempt for attempt in self.attempts if attempt.is_over]
        return pick((over or active) if is_old else (active or over), choice)

    def _waiting(self) -> list[str]:
        return [job_id for job_id, job in self.model.jobs.items() if job.state is JobState.CREATED and job.place]


def holder_of(attempt: Attempt) -> Holder:
    return Holder(attempt.token, attempt.lease, "w")


def pick(known: list[T], choice: int) -> T:
    return known[choice % len(known)]
