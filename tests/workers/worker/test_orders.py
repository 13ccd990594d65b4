"""An interrupt on record reaches the one attempt that it names; one that matches no job for long is stale."""

from __future__ import annotations

import pytest

from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import Intent
from oneshot_queue.workers.worker import orders as orders_module
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.held_jobs import HeldJob
from oneshot_queue.workers.worker.state.leases import Lease
from tests.workers.worker.builders import ManualClock, RecordingControl, a_held_job, a_session, no_held_jobs

PATIENCE_S = 30.0
INTENT = Intent("job", 1, None)


class Harness:
    """Orders for one lease."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.held_jobs = no_held_jobs()
        self.control = RecordingControl()
        self.early = EarlyInterrupts(self.clock, remember_s=PATIENCE_S)
        session = a_session(clock=self.clock, lease_s=PATIENCE_S)
        (self.lease,) = session.leases
        self.orders = Orders(session, self.held_jobs, self.control, self.early)

    def hold(self, *, attempt: int = 1, lease: str = "worker.1") -> HeldJob:
        held = a_held_job()
        held.attempt, held.holder = attempt, Holder("1", lease, "worker")
        self.held_jobs.add(held)
        return held


def test_interrupt_reaches_the_attempt_it_names() -> None:
    harness = Harness()
    held = harness.hold()

    assert harness.orders.carry_out(harness.lease, [Intent("job", 1, 2.5)]) == 1
    assert harness.orders.carry_out(harness.lease, [Intent("job", 1, 0.0)]) == 0

    assert harness.control.interrupted == [(held, 2.5), (held, 0.0)]
    assert held.intent == Intent("job", 1, 0.0)


@pytest.mark.parametrize(("attempt", "lease"), [(2, "worker.1"), (1, "worker.2")])
def test_another_attempt_or_lease_is_left_alone(attempt: int, lease: str) -> None:
    harness = Harness()
    held = harness.hold(attempt=attempt, lease=lease)

    assert harness.orders.carry_out(harness.lease, [INTENT]) == 0

    assert (harness.control.interrupted, held.intent) == ([], None)


def test_interrupt_of_a_job_that_is_not_held_is_remembered() -> None:
    harness = Harness()

    assert harness.orders.carry_out(harness.lease, [INTENT]) == 0

    assert harness.early.take("queue", "job", 1)


def test_intent_that_matches_no_job_for_a_whole_lease_is_stale() -> None:
    harness = Harness()
    harness.orders.carry_out(harness.lease, [INTENT])

    harness.clock.seconds += PATIENCE_S - 0.01
    harness.orders.carry_out(harness.lease, [INTENT])
    assert harness.orders.stale(harness.lease) == []
    harness.clock.seconds += 0.01

    assert harness.orders.stale(harness.lease) == [INTENT]
    assert harness.orders.stale(harness.lease) == []


def test_intent_for_an_older_attempt_is_stale_too() -> None:
    harness = Harness()
    harness.hold(attempt=2)
    harness.orders.carry_out(harness.lease, [INTENT])

    harness.clock.seconds += PATIENCE_S

    assert harness.orders.stale(harness.lease) == [INTENT]


def test_intent_that_was_carried_out_is_never_stale() -> None:
    harness = Harness()
    harness.hold()
    harness.orders.carry_out(harness.lease, [INTENT])

    harness.clock.seconds += 10 * PATIENCE_S

    assert harness.orders.stale(harness.lease) == []


def test_intent_whose_job_arrives_later_is_not_stale() -> None:
    harness = Harness()
    harness.orders.carry_out(harness.lease, [INTENT])
    harness.hold()
    harness.orders.carry_out(harness.lease, [INTENT])

    harness.clock.seconds += PATIENCE_S

    assert harness.orders.stale(harness.lease) == []


def test_stale_intents_are_kept_apart_by_lease() -> None:
    harness = Harness()
    other = Lease(QueueKeys("oq", "other"), "worker")
    harness.orders.carry_out(other, [INTENT])

    harness.clock.seconds += PATIENCE_S

    assert harness.orders.stale(harness.lease) == []
    assert harness.orders.stale(other) == [INTENT]


def test_the_number_of_unmatched_intents_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_module, "MAX_UNMATCHED", 10)
    harness = Harness()
    harness.orders.carry_out(harness.lease, [Intent(f"job{number}", 1, None) for number in range(100)])

    harness.clock.seconds += PATIENCE_S

    assert len(harness.orders.stale(harness.lease)) == 10
