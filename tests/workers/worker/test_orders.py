"""An interrupt on record reaches the one attempt it was meant for; what fits nothing for long is of no use."""

from __future__ import annotations

import pytest

from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import Intent
from oneshot_queue.workers.worker import orders as leases_module
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease
from tests.workers.worker.state.test_held_jobs import ManualClock, a_held_job

PATIENCE_S = 30.0
INTENT = Intent("job", 1, None)


class Place:
    """Orders for one lease."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.held_jobs = HeldJobs()
        self.lease = Lease(QueueKeys("oq", "queue"), "worker")
        self.interrupted: list[tuple[str, float | None]] = []
        self.remembered: list[tuple[str, str, int]] = []
        self.orders = Orders(self.held_jobs, self._interrupt, self.clock, patience_s=PATIENCE_S)
        self.orders.remember = lambda queue, job_id, attempt: self.remembered.append((queue, job_id, attempt))

    def hold(self, *, attempt: int = 1, lease: str = "worker.1") -> HeldJob:
        held = a_held_job()
        held.attempt, held.holder = attempt, Holder("1", lease, "worker")
        self.held_jobs.add(held)
        return held

    def _interrupt(self, task_id: str, grace_s: float | None, _: str) -> bool:
        is_new = task_id not in [task for task, _ in self.interrupted]
        self.interrupted.append((task_id, grace_s))
        return is_new


def test_interrupt_reaches_the_attempt_it_names() -> None:
    place = Place()
    held = place.hold()

    assert place.orders.carry_out(place.lease, [Intent("job", 1, 2.5)]) == 1
    assert place.orders.carry_out(place.lease, [Intent("job", 1, 0.0)]) == 0

    assert place.interrupted == [(held.task_id, 2.5), (held.task_id, 0.0)]
    assert held.intent == Intent("job", 1, 0.0)


@pytest.mark.parametrize(("attempt", "lease"), [(2, "worker.1"), (1, "worker.2")])
def test_another_attempt_or_lease_is_left_alone(attempt: int, lease: str) -> None:
    place = Place()
    held = place.hold(attempt=attempt, lease=lease)

    assert place.orders.carry_out(place.lease, [INTENT]) == 0

    assert (place.interrupted, held.intent) == ([], None)


def test_interrupt_of_a_job_that_is_not_held_is_remembered() -> None:
    place = Place()

    assert place.orders.carry_out(place.lease, [INTENT]) == 0

    assert place.remembered == [("queue", "job", 1)]


def test_intent_that_fits_nothing_is_useless_once_patience_is_over() -> None:
    place = Place()
    place.orders.carry_out(place.lease, [INTENT])

    place.clock.seconds += PATIENCE_S - 0.01
    place.orders.carry_out(place.lease, [INTENT])
    assert place.orders.stale(place.lease) == []
    place.clock.seconds += 0.01

    assert place.orders.stale(place.lease) == [INTENT]
    assert place.orders.stale(place.lease) == []


def test_intent_of_an_older_attempt_is_useless_too() -> None:
    place = Place()
    place.hold(attempt=2)
    place.orders.carry_out(place.lease, [INTENT])

    place.clock.seconds += PATIENCE_S

    assert place.orders.stale(place.lease) == [INTENT]


def test_intent_that_was_carried_out_is_never_useless() -> None:
    place = Place()
    place.hold()
    place.orders.carry_out(place.lease, [INTENT])

    place.clock.seconds += 10 * PATIENCE_S

    assert place.orders.stale(place.lease) == []


def test_intent_whose_job_came_after_all_is_not_useless() -> None:
    place = Place()
    place.orders.carry_out(place.lease, [INTENT])
    place.hold()
    place.orders.carry_out(place.lease, [INTENT])

    place.clock.seconds += PATIENCE_S

    assert place.orders.stale(place.lease) == []


def test_useless_is_said_of_each_lease_for_itself() -> None:
    place = Place()
    other = Lease(QueueKeys("oq", "other"), "worker")
    place.orders.carry_out(other, [INTENT])

    place.clock.seconds += PATIENCE_S

    assert place.orders.stale(place.lease) == []
    assert place.orders.stale(other) == [INTENT]


def test_what_is_noted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "MAX_UNMATCHED", 10)
    place = Place()
    place.orders.carry_out(place.lease, [Intent(f"job{number}", 1, None) for number in range(100)])

    place.clock.seconds += PATIENCE_S

    assert len(place.orders.stale(place.lease)) == 10
