"""A stop becomes only more urgent, and its reason is kept."""

from __future__ import annotations

import logging

import pytest

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.workers.ipc.messages import Stage
from oneshot_queue.workers.worker.stop_state import StopState

REFUSED = BrokerRefused("redis://", "it says no", "ask why", needs_person=True)


def test_a_refusal_stops_claims_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stopping = StopState()

    with caplog.at_level(logging.ERROR):
        stopping.refuse(REFUSED)
        stopping.refuse(BrokerRefused("redis://", "it says no again", "ask why"))

    assert (stopping.stage, stopping.refusal) == (Stage.FINISHING, REFUSED)
    assert len(caplog.records) == 1


def test_the_loss_of_the_supervisor_interrupts_jobs_even_while_draining() -> None:
    stopping = StopState()
    stopping.reach(Stage.DRAINING)

    stopping.lose_supervisor()

    assert (stopping.stage, stopping.is_orphaned, stopping.because) == (
        Stage.INTERRUPTING,
        True,
        "lost its supervisor",
    )


def test_a_refusal_does_not_slow_down_a_stop_that_is_more_urgent() -> None:
    stopping = StopState()
    stopping.reach(Stage.KILLING)

    stopping.refuse(REFUSED)

    assert stopping.stage is Stage.KILLING


async def test_all_stages_up_to_the_one_reached_can_be_waited_for() -> None:
    stopping = StopState()

    stopping.reach(Stage.INTERRUPTING)

    for stage in (Stage.FINISHING, Stage.DRAINING, Stage.INTERRUPTING):
        await stopping.wait_for(stage)
