"""That the broker is away is said once, and so is that it is back."""

from __future__ import annotations

import logging

import pytest

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.workers.worker.outages import OutageLog, level_of
from tests.workers.worker.state.test_held_jobs import ManualClock

AWAY = BrokerUnreachable("redis://host", "nobody answers")


def test_each_change_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    contact = OutageLog(clock)

    contact.note(None)
    for _ in range(3):
        contact.note(AWAY)
    clock.seconds += 12.5
    for _ in range(3):
        contact.note(None)

    assert [record.getMessage() for record in caplog.records] == [
        f"running jobs go on without the broker: {AWAY}",
        "the broker answers again, after 12.5 s",
    ]


def test_a_duty_speaks_up_once_and_only_of_what_is_its_own() -> None:
    refusal = BrokerRefused("redis://host", "it says no", "ask why")

    assert [level_of(refusal, failures) for failures in (1, 2)] == [logging.WARNING, logging.DEBUG]
    assert level_of(AWAY, 1) == logging.DEBUG
