"""A lease that is lost is replaced once, and takes exactly its own jobs with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import Renewed
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.services.lease_keeper import LeaseKeeper
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.server_clock import ServerClock
from tests.support.waiting import eventually
from tests.workers.worker.services.broker import ScriptedBroker
from tests.workers.worker.state.test_held_jobs import a_held_job


class Connection:
    """Answers every call with a time, or not at all."""

    def __init__(self) -> None:
        self.is_away = False
        self.refuses = False
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def run_many(self, calls: list[Any]) -> list[Any]:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        self.meanwhile()
        if self.is_away:
            raise BrokerUnreachable("redis://", "it is away")
        if self.refuses:
            raise BrokerRefused("redis://", "it says no", "ask why")
        return [1_000 for _ in calls]


class Place:
    """A keeper of one lease, and what it may reach."""

    def __init__(self, *, lease_s: float = 30.0) -> None:
        self.connection = Connection()
        self.held_jobs = HeldJobs()
        self.lease = Lease(QueueKeys("oq", "queue"), "worker")
        self.interrupted: list[str] = []
        self._lease_s = lease_s
        self.keeper = self.keeper_of([self.lease], self.connection)

    def keeper_of(
        self, leases: list[Lease], connection: Any, on_renewed: Callable[[Lease], None] = lambda _: None
    ) -> LeaseKeeper:
        clock = SystemClock()
        return LeaseKeeper(
            connection=connection,
            leases=leases,
            held_jobs=self.held_jobs,
            orders=Orders(self.held_jobs, self._interrupt, clock, patience_s=self._lease_s),
            interrupt=self._interrupt,
            clock=clock,
            server_clock=ServerClock(clock),
            lease_s=self._lease_s,
            on_renewed=on_renewed,
        )

    def hold(self, job_id: str, *, queue: str = "queue", has_ended: bool = False) -> HeldJob:
        held = a_held_job(job_id, queue=queue)
        if has_ended:
            held.ended = (Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=0), 1.0)
        self.held_jobs.add(held)
        return held

    def _interrupt(self, task_id: str, _: float | None, __: str) -> bool:
        self.interrupted.append(task_id)
        return True


async def test_jobs_of_a_lost_lease_are_ended_and_those_that_had_ended_are_let_go() -> None:
    place = Place()
    running, ended, elsewhere = place.hold("a"), place.hold("b", has_ended=True), place.hold("c", queue="other")

    await place.keeper.replace(place.lease, "worker.1")

    assert place.lease.id == "worker.2"
    assert (running.is_fenced, ended.is_fenced, elsewhere.is_fenced) == (True, True, False)
    assert running.task_id in place.interrupted
    assert list(place.held_jobs) == [running, elsewhere]


async def test_a_lease_that_was_replaced_meanwhile_is_not_replaced_again() -> None:
    place = Place()
    await place.keeper.replace(place.lease, "worker.1")
    held = a_held_job()
    held.holder = type(held.holder)("1", "worker.2", "worker")
    place.held_jobs.add(held)

    await place.keeper.replace(place.lease, "worker.1")

    assert place.lease.id == "worker.2"
    assert not held.is_fenced
    assert place.interrupted == []


async def test_the_next_lease_is_registered_before_it_is_used_and_once_however_many_ask() -> None:
    place = Place()
    used: list[str] = []
    place.connection.meanwhile = lambda: used.append(place.lease.id)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(place.keeper.replace, place.lease, "worker.1")

    assert used == ["worker.1"]
    assert place.lease.id == "worker.2"


async def test_one_lease_that_cannot_be_renewed_keeps_no_other_from_it() -> None:
    place = Place()
    other = Lease(QueueKeys("oq", "other"), "worker")
    renewed: list[Lease] = []
    broker = ScriptedBroker(
        renew=lambda call: (
            BrokerUnreachable("redis://", "it is away") if ":queue}" in str(call.words[1]) else Renewed(1_000, (), 0)
        )
    )
    keeper = place.keeper_of([place.lease, other], broker, renewed.append)

    with pytest.raises(BrokerUnreachable):
        await keeper.run_once()

    assert renewed == [other]


async def test_a_refusal_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    place = Place(lease_s=0.012)
    place.connection.refuses = True

    with caplog.at_level(logging.WARNING):
        async with anyio.create_task_group() as group:
            group.start_soon(place.keeper.run)
            await eventually(lambda: place.connection.asked, lambda asked: asked > 20, what="twenty failures")
            group.cancel_scope.cancel()

    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["cannot renew the lease"]
