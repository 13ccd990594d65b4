"""A lost lease is replaced once, and exactly its own jobs are fenced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.store.leases import Renewed
from oneshot_queue.workers.ipc.messages import Stage
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.services.lease_keeper import LeaseKeeper
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.held_jobs import HeldJob
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.stop_state import StopState
from tests.support.waiting import eventually
from tests.workers.worker.builders import RecordingControl, a_held_job, a_session, no_held_jobs, running
from tests.workers.worker.services.broker import ScriptedBroker


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
            raise BrokerRefused("redis://", "it says no", "ask why", needs_person=True)
        return [1_000 for _ in calls]


class LeaseLog:
    """Remembers the queues whose lease was renewed."""

    def __init__(self) -> None:
        self.renewed: list[str] = []

    def lease_renewed(self, lease: Lease) -> None:
        self.renewed.append(lease.keys.queue)

    def lease_ended(self, lease: Lease) -> None:
        del lease


class Harness:
    """A lease keeper of one lease, and its collaborators."""

    def __init__(self, *, lease_s: float = 30.0) -> None:
        self.connection = Connection()
        self.held_jobs = no_held_jobs()
        self.control = RecordingControl()
        self.log = LeaseLog()
        self.stopping = StopState()
        self._lease_s = lease_s
        self.keeper = self.keeper_of(self.connection)
        (self.lease,) = self.session.leases

    def keeper_of(self, connection: Any, *, queues: tuple[str, ...] = ("queue",)) -> LeaseKeeper:
        clock = SystemClock()
        self.session = a_session(connection, queues=queues, clock=clock, lease_s=self._lease_s)
        early = EarlyInterrupts(clock, remember_s=self._lease_s)
        return LeaseKeeper(
            self.session,
            self.held_jobs,
            orders=Orders(self.session, self.held_jobs, self.control, early),
            control=self.control,
            log=self.log,
            stopping=self.stopping,
        )

    def hold(self, job_id: str, *, queue: str = "queue") -> HeldJob:
        held = a_held_job(job_id, queue=queue, phase=running())
        self.held_jobs.add(held)
        return held


async def test_jobs_of_a_lost_lease_are_fenced_and_no_others() -> None:
    harness = Harness()
    lost, _elsewhere = harness.hold("a"), harness.hold("b", queue="other")

    await harness.keeper.replace(harness.lease, "worker.1")

    assert harness.lease.id == "worker.2"
    assert harness.control.fenced == [lost]


async def test_a_lease_that_was_replaced_meanwhile_is_not_replaced_again() -> None:
    harness = Harness()
    await harness.keeper.replace(harness.lease, "worker.1")
    held = a_held_job()
    held.holder = type(held.holder)("1", "worker.2", "worker")
    harness.held_jobs.add(held)

    await harness.keeper.replace(harness.lease, "worker.1")

    assert harness.lease.id == "worker.2"
    assert harness.control.fenced == []


async def test_the_next_lease_is_registered_before_it_is_used_and_only_once() -> None:
    harness = Harness()
    used: list[str] = []
    harness.connection.meanwhile = lambda: used.append(harness.lease.id)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(harness.keeper.replace, harness.lease, "worker.1")

    assert used == ["worker.1"]
    assert harness.lease.id == "worker.2"


async def test_one_lease_that_cannot_be_renewed_does_not_prevent_renewal_of_the_others() -> None:
    harness = Harness()
    broker = ScriptedBroker(
        renew=lambda call: (
            BrokerUnreachable("redis://", "it is away") if ":queue}" in str(call.words[1]) else Renewed(1_000, (), 0)
        )
    )
    keeper = harness.keeper_of(broker, queues=("queue", "other"))

    with pytest.raises(BrokerUnreachable):
        await keeper.run_once()

    assert harness.log.renewed == ["other"]


async def test_a_refusal_is_logged_once_and_stops_the_worker_after_a_whole_lease(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness(lease_s=0.012)
    harness.connection.refuses = True

    with caplog.at_level(logging.WARNING):
        async with anyio.create_task_group() as group:
            group.start_soon(harness.keeper.run)
            await eventually(lambda: harness.connection.asked, lambda asked: asked > 20, what="twenty failures")
            group.cancel_scope.cancel()

    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "cannot renew the lease",
        "claiming no more jobs",
    ]
    assert harness.stopping.stage is Stage.FINISHING
    assert isinstance(harness.stopping.refusal, BrokerRefused)
