"""A claimer never takes more than there is room for, and never drops a claim whose reply it did not get."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import LeaseLost
from oneshot_queue.workers.worker.services.claimer import Claimer
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.leases import Lease
from tests.support.limits import limit_s
from tests.workers.worker.builders import a_held_job, a_session, no_held_jobs
from tests.workers.worker.services.broker import ScriptedBroker


class Harness:
    """A claimer of one queue with four slots."""

    def __init__(self, *answers: Any, is_burst: bool = False) -> None:
        self.free_slots = 4
        self.held_jobs = no_held_jobs()
        self.admitted: list[str] = []
        self.replaced: list[str] = []
        replies = list(answers)
        self.broker = ScriptedBroker(claim=lambda _: replies.pop(0) if replies else Claimed((), 0), reclaim=LeaseLost())
        session = a_session(self.broker)
        (self.lease,) = session.leases
        self.claimer = Claimer(
            session,
            self.lease,
            self.held_jobs,
            bell=self,  # type: ignore[arg-type]
            slots=self,
            turn=anyio.Lock(),
            window=BatchWindow(Mock(is_rush=False)),
            admission=self,
            lease_keeper=self,
            servers=self,
            is_burst=is_burst,
        )

    async def wait_for_slot(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def admit(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        assert lease_id == lease.id
        self.admitted.append(claim.job_id)
        self.held_jobs.add(a_held_job(claim.job_id, queue=lease.keys.queue, token=claim.token))
        self.free_slots -= 1

    async def replace(self, lease: Lease, lost_id: str) -> None:
        assert lease is self.lease
        self.replaced.append(lost_id)

    def run_id_of(self, keys: QueueKeys) -> str:
        del keys
        return "run"

    async def run(self, call: Call[Any]) -> Any:
        raise AssertionError(f"{call} waits at the bell")


def a_claim(job_id: str, token: str = "7-a") -> Claim:
    return Claim(job_id, 1, token, b"", b"")


async def test_claimed_jobs_are_started() -> None:
    harness = Harness(Claimed((a_claim("a"), a_claim("b")), 0))

    assert await harness.claimer.run_once() == (4, 2)

    assert harness.admitted == ["a", "b"]


async def test_nothing_is_claimed_without_a_free_slot() -> None:
    harness = Harness(Claimed((a_claim("a"),), 0))
    harness.free_slots = 0

    assert await harness.claimer.run_once() == (0, 0)

    assert harness.broker.asked == []


async def test_claim_without_a_reply_is_read_back_not_repeated() -> None:
    harness = Harness(BrokerUnreachable("redis://", "it went away"))
    harness.broker.answers["reclaim"] = Claimed((a_claim("a"),), 0)
    with pytest.raises(BrokerUnreachable):
        await harness.claimer.run_once()

    await harness.claimer.run_once()

    assert harness.admitted == ["a"]
    assert [name for name, _ in harness.broker.asked] == ["claim", "reclaim", "claim"]


async def test_job_that_was_received_before_is_not_started_again() -> None:
    harness = Harness(Claimed((a_claim("a"),), 0), Claimed((a_claim("a"), a_claim("a", "8-b")), 0))
    await harness.claimer.run_once()

    assert await harness.claimer.run_once() == (3, 1)

    assert harness.admitted == ["a", "a"]


async def test_lost_lease_is_replaced() -> None:
    harness = Harness(LeaseLost())

    await harness.claimer.run_once()

    assert harness.replaced == ["worker.1"]


async def test_burst_ends_when_nothing_waits_and_all_results_are_recorded() -> None:
    harness = Harness(Claimed((a_claim("a"),), 0), is_burst=True)

    with anyio.fail_after(limit_s(5)):
        async with anyio.create_task_group() as group:
            group.start_soon(harness.claimer.run)
            await anyio.wait_all_tasks_blocked()
            assert len(harness.held_jobs) == 1
            for held in harness.held_jobs:
                harness.held_jobs.remove(held)
