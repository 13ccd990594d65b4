"""Jobs are reported to a server that may have lost them, until it accepts them or claims continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.calls import Call
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport.server_facts import ServerFacts
from oneshot_queue.workers.worker.services import reasserter
from oneshot_queue.workers.worker.services.reasserter import Reasserter
from oneshot_queue.workers.worker.state.held_jobs import HeldJob
from tests.workers.worker.builders import (
    ManualClock,
    RecordingControl,
    RecordingRecorder,
    a_held_job,
    a_session,
    no_held_jobs,
)
from tests.workers.worker.services.broker import ScriptedBroker

FIRST, SECOND, THIRD = (ServerFacts(run_id=each) for each in ("first", "second", "third"))


class Harness:
    """One worker, a job it runs, and what is done about it."""

    def __init__(self, **answers: Any) -> None:
        self.broker = ScriptedBroker(**{"restore": 1, "finish": Recorded(), **answers})
        self.clock = ManualClock()
        self.held_jobs = no_held_jobs()
        self.held = a_held_job("a")
        self.held_jobs.add(self.held)
        self.facts = FIRST
        self.recorder, self.control = RecordingRecorder(), RecordingControl()
        self.broker.facts_of = lambda _: self.facts  # type: ignore[attr-defined]
        self.reasserter = Reasserter(
            a_session(self.broker, clock=self.clock),
            self.held_jobs,
            recorder=self.recorder,
            shipper=RecordingRecorder(),
            control=self.control,
        )

    @property
    def settled(self) -> list[HeldJob]:
        return self.recorder.scheduled

    @property
    def fenced(self) -> list[HeldJob]:
        return self.control.fenced

    async def meet(self, facts: ServerFacts) -> None:
        self.facts = facts
        await self.reasserter.meet_server(facts, self.broker.run_many)


async def test_nothing_is_reported_to_the_first_server() -> None:
    harness = Harness()

    await harness.meet(FIRST)

    assert harness.broker.asked == []
    assert harness.reasserter.run_id_of(QueueKeys("oq", "queue")) == "first"


async def test_lease_and_running_jobs_are_reported_to_a_restarted_server() -> None:
    harness = Harness(adopt=True)
    await harness.meet(FIRST)

    await harness.meet(SECOND)

    assert [name for name, _ in harness.broker.asked] == ["restore", "adopt"]
    assert (harness.settled, harness.fenced, harness.held.is_unsettled) == ([harness.held], [], False)


async def test_a_job_that_is_not_accepted_at_once_is_reported_again_and_nothing_is_recorded_about_it() -> None:
    harness = Harness(adopt=False)
    await harness.meet(FIRST)

    await harness.meet(SECOND)
    await harness.reasserter.run_once()

    assert (harness.held.is_unsettled, harness.fenced) == (True, [])
    harness.broker.answers["adopt"] = True
    assert await harness.reasserter.run_once() == 0
    assert (harness.held.is_unsettled, harness.settled, harness.fenced) == (False, [harness.held], [])


async def test_a_job_that_is_refused_until_claims_continue_is_fenced() -> None:
    harness = Harness(adopt=False)
    await harness.meet(FIRST)
    await harness.meet(SECOND)

    harness.clock.seconds += reasserter.SETTLING_S
    left = await harness.reasserter.run_once()

    assert (left, harness.fenced, harness.held.is_unsettled) == (0, [harness.held], False)


async def test_a_job_that_could_not_be_reported_to_the_new_server_is_reported_to_the_old_one_when_it_returns() -> None:
    harness = Harness(adopt=True, restore=BrokerUnreachable("redis://", "it is away"))
    await harness.meet(FIRST)
    with pytest.raises(BrokerUnreachable):
        await harness.meet(SECOND)
    assert harness.held.is_unsettled

    await harness.meet(FIRST)
    assert await harness.reasserter.run_once() == 0

    assert (harness.held.is_unsettled, harness.settled, harness.fenced) == (False, [harness.held], [])


async def test_a_restart_during_the_reports_after_the_last_one_gets_a_full_time_limit() -> None:
    harness = Harness(adopt=False)
    await harness.meet(FIRST)
    await harness.meet(SECOND)
    harness.clock.seconds += reasserter.SETTLING_S
    restarts = [harness.meet(THIRD)]

    async def run_many(calls: Sequence[Call[Any]]) -> list[Any]:
        if restarts:
            await restarts.pop()
        return [False for _ in calls]

    harness.broker.run_many = run_many  # type: ignore[method-assign]
    await harness.reasserter.run_once()

    assert (restarts, harness.fenced, harness.held.is_unsettled) == ([], [], True)
    harness.clock.seconds += reasserter.SETTLING_S
    await harness.reasserter.run_once()
    assert harness.fenced == [harness.held]
