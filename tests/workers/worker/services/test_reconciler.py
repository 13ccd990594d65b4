"""What Redis believes a worker holds is started or returned if its token never came, and otherwise left alone."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.settings import Settings
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, Returned
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.workers.worker.services.reconciler import Reconciler
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease
from tests.workers.worker.services.broker import ScriptedBroker
from tests.workers.worker.state.test_held_jobs import a_held_job


class Place:
    """A reconciler of two queues, and what Redis believes."""

    def __init__(self, *claims: Claim, free_slots: int = 9) -> None:
        self.free_slots = free_slots
        self.held_jobs = HeldJobs()
        self.turn = anyio.Lock()
        self.admitted: list[tuple[str, str, str]] = []
        self.believed = {"queue": claims, "other": ()}
        self.broker = ScriptedBroker(
            reclaim=lambda call: Claimed(self.believed[str(call.words[1]).partition(":")[2].rstrip("}")], 0),
            give_back=Returned(),
        )
        self.reconciler = Reconciler(
            connection=self.broker,  # type: ignore[arg-type]
            leases=[Lease(QueueKeys("oq", queue), "worker") for queue in self.believed],
            held_jobs=self.held_jobs,
            slots=self,
            turn=self.turn,
            worker="name",
            settings=Settings(),
            admit=self._admit,
        )

    async def _admit(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        self.admitted.append((lease.keys.queue, lease_id, claim.token))
        self.held_jobs.add(a_held_job(claim.job_id, queue=lease.keys.queue, token=claim.token))
        self.free_slots -= 1


def a_claim(job_id: str = "job", token: str = "7-a") -> Claim:
    return Claim(job_id, 1, token, b"", b"")


async def test_job_that_never_came_is_started_where_there_is_room() -> None:
    place = Place(a_claim())

    assert await place.reconciler.run_once() == 1

    assert place.admitted == [("queue", "worker.1", "7-a")]
    assert place.broker.words("give_back") == []


async def test_jobs_that_never_came_return_uncounted_where_there_is_no_room() -> None:
    place = Place(a_claim("a", "1-a"), a_claim("b", "2-b"), free_slots=1)

    assert await place.reconciler.run_once() == 2

    assert place.admitted == [("queue", "worker.1", "1-a")]
    assert [words[:6] for words in place.broker.words("give_back")] == [
        ("b", "2-b", "worker.1", "name", "unstarted", "")
    ]


async def test_job_that_came_and_ended_here_does_not_begin_again() -> None:
    place = Place(a_claim())
    held = a_held_job("job", token="7-a")
    place.held_jobs.add(held)
    place.held_jobs.remove(held)

    assert await place.reconciler.run_once() == 0

    assert (place.admitted, place.broker.words("give_back")) == ([], [])


async def test_later_attempt_of_a_job_that_came_before_is_started() -> None:
    place = Place(a_claim(token="8-b"))
    held = a_held_job("job", token="7-a")
    place.held_jobs.add(held)
    place.held_jobs.remove(held)

    await place.reconciler.run_once()

    assert place.admitted == [("queue", "worker.1", "8-b")]


async def test_same_id_and_token_in_another_queue_is_another_job() -> None:
    place = Place(a_claim())
    place.held_jobs.add(a_held_job("job", queue="other", token="7-a"))

    assert await place.reconciler.run_once() == 1


async def test_what_runs_is_named_to_redis_by_its_token_and_queue() -> None:
    place = Place()
    place.held_jobs.add(a_held_job("a", queue="queue", token="1-a"))
    place.held_jobs.add(a_held_job("b", queue="other", token="2-b"))

    await place.reconciler.run_once()

    assert [(lease, *known) for lease, _, *known in place.broker.words("reclaim")] == [
        ("worker.1", "1-a"),
        ("worker.1", "2-b"),
    ]


async def test_queue_that_cannot_be_asked_keeps_nothing_from_the_others() -> None:
    place = Place()
    place.believed["other"] = (a_claim(),)
    believed = place.broker.answers["reclaim"]

    def reclaim(call: Call[Any]) -> Any:
        if ":queue}" in str(call.words[1]):
            raise BrokerUnreachable("redis://", "it is away")
        return believed(call)

    place.broker.answers["reclaim"] = reclaim
    with pytest.raises(BrokerUnreachable):
        await place.reconciler.run_once()

    assert place.admitted == [("other", "worker.1", "7-a")]


async def test_nothing_is_looked_at_while_a_claim_is_under_way() -> None:
    place = Place(a_claim())

    async with place.turn, anyio.create_task_group() as tasks:
        tasks.start_soon(place.reconciler.run_once)
        await anyio.wait_all_tasks_blocked()
        assert place.broker.asked == []
        # The claim's reply came after all.
        place.held_jobs.add(a_held_job("job", token="7-a"))
        place.turn.release()
        await anyio.wait_all_tasks_blocked()
        await place.turn.acquire()

    assert place.admitted == []


async def test_outage_is_told() -> None:
    place = Place(a_claim())
    place.broker.is_away = True

    with pytest.raises(BrokerUnreachable):
        await place.reconciler.run_once()
