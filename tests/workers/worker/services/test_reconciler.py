"""Jobs that Redis believes a worker holds are started or returned if their token never arrived, else left alone."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, Returned
from oneshot_queue.workers.worker.services.reconciler import Reconciler
from oneshot_queue.workers.worker.state.leases import Lease
from tests.workers.worker.builders import a_held_job, a_session, no_held_jobs
from tests.workers.worker.services.broker import ScriptedBroker


class Harness:
    """A reconciler of two queues, and what Redis believes."""

    def __init__(self, *claims: Claim, free_slots: int = 9) -> None:
        self.free_slots = free_slots
        self.held_jobs = no_held_jobs()
        self.turn = anyio.Lock()
        self.admitted: list[tuple[str, str, str]] = []
        self.believed = {"queue": claims, "other": ()}
        self.broker = ScriptedBroker(
            reclaim=lambda call: Claimed(self.believed[str(call.words[1]).partition(":")[2].rstrip("}")], 0),
            give_back=Returned(),
        )
        self.reconciler = Reconciler(
            a_session(self.broker, queues=tuple(self.believed)),
            self.held_jobs,
            slots=self,
            turn=self.turn,
            admission=self,
        )

    async def admit(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        self.admitted.append((lease.keys.queue, lease_id, claim.token))
        self.held_jobs.add(a_held_job(claim.job_id, queue=lease.keys.queue, token=claim.token))
        self.free_slots -= 1


def a_claim(job_id: str = "job", token: str = "7-a") -> Claim:
    return Claim(job_id, 1, token, b"", b"")


async def test_job_that_never_arrived_is_started_if_there_is_room() -> None:
    harness = Harness(a_claim())

    assert await harness.reconciler.run_once() == 1

    assert harness.admitted == [("queue", "worker.1", "7-a")]
    assert harness.broker.words("give_back") == []


async def test_jobs_that_never_arrived_return_uncounted_if_there_is_no_room() -> None:
    harness = Harness(a_claim("a", "1-a"), a_claim("b", "2-b"), free_slots=1)

    assert await harness.reconciler.run_once() == 2

    assert harness.admitted == [("queue", "worker.1", "1-a")]
    assert [words[:6] for words in harness.broker.words("give_back")] == [
        ("b", "2-b", "worker.1", "name", "unstarted", "")
    ]


async def test_job_that_arrived_and_ended_here_is_not_started_again() -> None:
    harness = Harness(a_claim())
    held = a_held_job("job", token="7-a")
    harness.held_jobs.add(held)
    harness.held_jobs.remove(held)

    assert await harness.reconciler.run_once() == 0

    assert (harness.admitted, harness.broker.words("give_back")) == ([], [])


async def test_later_attempt_of_a_job_that_arrived_before_is_started() -> None:
    harness = Harness(a_claim(token="8-b"))
    held = a_held_job("job", token="7-a")
    harness.held_jobs.add(held)
    harness.held_jobs.remove(held)

    await harness.reconciler.run_once()

    assert harness.admitted == [("queue", "worker.1", "8-b")]


async def test_same_id_and_token_in_another_queue_is_another_job() -> None:
    harness = Harness(a_claim())
    harness.held_jobs.add(a_held_job("job", queue="other", token="7-a"))

    assert await harness.reconciler.run_once() == 1


async def test_running_jobs_are_named_to_redis_by_token_and_queue() -> None:
    harness = Harness()
    harness.held_jobs.add(a_held_job("a", queue="queue", token="1-a"))
    harness.held_jobs.add(a_held_job("b", queue="other", token="2-b"))

    await harness.reconciler.run_once()

    assert [(lease, *known) for lease, _, *known in harness.broker.words("reclaim")] == [
        ("worker.1", "1-a"),
        ("worker.1", "2-b"),
    ]


async def test_queue_that_cannot_be_asked_does_not_hold_up_the_others() -> None:
    harness = Harness()
    harness.believed["other"] = (a_claim(),)
    believed = harness.broker.answers["reclaim"]

    def reclaim(call: Call[Any]) -> Any:
        if ":queue}" in str(call.words[1]):
            raise BrokerUnreachable("redis://", "it is away")
        return believed(call)

    harness.broker.answers["reclaim"] = reclaim
    with pytest.raises(BrokerUnreachable):
        await harness.reconciler.run_once()

    assert harness.admitted == [("other", "worker.1", "7-a")]


async def test_nothing_is_reconciled_while_a_claim_is_under_way() -> None:
    harness = Harness(a_claim())

    async with harness.turn, anyio.create_task_group() as tasks:
        tasks.start_soon(harness.reconciler.run_once)
        await anyio.wait_all_tasks_blocked()
        assert harness.broker.asked == []
        # The claim's reply arrives late.
        harness.held_jobs.add(a_held_job("job", token="7-a"))
        harness.turn.release()
        await anyio.wait_all_tasks_blocked()
        await harness.turn.acquire()

    assert harness.admitted == []


async def test_outage_is_an_error() -> None:
    harness = Harness(a_claim())
    harness.broker.is_away = True

    with pytest.raises(BrokerUnreachable):
        await harness.reconciler.run_once()
