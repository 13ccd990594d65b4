"""An interrupt that arrives before its job is remembered for the length of a lease, once, and not without bound."""

from __future__ import annotations

import pytest

from oneshot_queue.workers.worker.state import early_interrupts
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from tests.workers.worker.builders import ManualClock


def test_interrupt_is_found_once_and_only_for_its_attempt() -> None:
    early = EarlyInterrupts(ManualClock(), remember_s=30.0)

    early.remember("queue", "job", 1)

    assert not early.take("queue", "job", 2)
    assert not early.take("other", "job", 1)
    assert early.take("queue", "job", 1)
    assert not early.take("queue", "job", 1)


def test_interrupt_older_than_a_lease_is_forgotten() -> None:
    clock = ManualClock()
    early = EarlyInterrupts(clock, remember_s=30.0)
    early.remember("queue", "old", 1)

    clock.seconds += 30.1
    early.remember("queue", "new", 1)

    assert [early.take("queue", job_id, 1) for job_id in ("old", "new")] == [False, True]


def test_the_number_of_remembered_interrupts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_interrupts, "MAX_EARLY", 10)
    early = EarlyInterrupts(ManualClock(), remember_s=30.0)

    for number in range(100):
        early.remember("queue", f"job{number}", 1)

    assert [early.take("queue", f"job{number}", 1) for number in (89, 90, 99)] == [False, True, True]
