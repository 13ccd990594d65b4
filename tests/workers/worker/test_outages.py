"""An outage of the broker is logged once when it begins and once when it is over."""

from __future__ import annotations

import logging

import pytest

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.workers.worker.outages import OutageLog, level_of
from tests.workers.worker.builders import ManualClock

AWAY = BrokerUnreachable("redis://host", "no answer")


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    outages = OutageLog(clock)

    outages.record(None)
    for _ in range(3):
        outages.record(AWAY)
    clock.seconds += 12.5
    for _ in range(3):
        outages.record(None)

    assert [record.getMessage() for record in caplog.records] == [
        f"running jobs go on without the broker: {AWAY}",
        "the broker answers again, after 12.5 s",
    ]


def test_a_service_warns_of_its_first_failure_and_leaves_outages_to_the_outage_log() -> None:
    refusal = BrokerRefused("redis://host", "it says no", "ask why")

    assert [level_of(refusal, failures) for failures in (1, 2)] == [logging.WARNING, logging.DEBUG]
    assert level_of(AWAY, 1) == logging.DEBUG
