"""A worker knows what it holds, whatever it was ever handed, and what time it is in Redis."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import anyio
import pytest

from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.workers.worker.state import held_jobs as holdings_module
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.server_clock import ServerClock


def a_held_job(job_id: str = "job", *, queue: str = "queue", token: str = "1") -> HeldJob:
    return HeldJob(QueueKeys("oq", queue), job_id, 1, Holder(token, "worker.1", "worker"), None)


def test_a_job_is_found_by_its_queue_and_id_and_by_its_task() -> None:
    held_jobs = HeldJobs()
    one, other = a_held_job("same", queue="a"), a_held_job("same", queue="b")

    held_jobs.add(one)
    held_jobs.add(other)

    assert held_jobs.find("a", "same") is one
    assert held_jobs.find("b", "same") is other
    assert held_jobs.by_task(one.task_id) is one
    assert held_jobs.find("c", "same") is None
    assert (len(held_jobs), list(held_jobs)) == (2, [one, other])


def test_an_attempt_is_known_as_received_even_when_it_has_long_ended() -> None:
    held_jobs = HeldJobs()
    held = a_held_job(token="7")
    held_jobs.add(held)

    held_jobs.remove(held)

    assert held_jobs.has_received("queue", "job", "7")
    assert not held_jobs.has_received("queue", "job", "8")
    assert not held_jobs.has_received("other", "job", "7")


def test_a_job_that_was_handed_over_once_more_is_known_under_both_tokens() -> None:
    held_jobs, told = HeldJobs(), list[HeldJob]()
    held_jobs.on_handed_over = told.append
    held = a_held_job(token="7")
    held_jobs.add(held)

    held_jobs.hand_over(held, Holder("8", "worker.2", "worker"))

    assert (held.holder.token, told, list(held_jobs)) == ("8", [held], [held])
    assert all(held_jobs.has_received("queue", "job", token) for token in ("7", "8"))


def test_what_is_remembered_of_ended_jobs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings_module, "REMEMBERED_TOKENS", 10)
    held_jobs = HeldJobs()

    for number in range(100):
        held = a_held_job(f"job-{number}", token=str(number))
        held_jobs.add(held)
        held_jobs.remove(held)

    assert [held_jobs.has_received("queue", f"job-{number}", str(number)) for number in (89, 90, 99)] == [
        False,
        True,
        True,
    ]


def test_an_earlier_attempt_does_not_take_a_later_one_of_the_same_job_away() -> None:
    held_jobs = HeldJobs()
    earlier, later = a_held_job(token="1"), a_held_job(token="2")
    held_jobs.add(earlier)
    held_jobs.add(later)

    held_jobs.remove(earlier)

    assert held_jobs.find("queue", "job") is later


def test_jobs_may_come_and_go_while_they_are_gone_through() -> None:
    held_jobs = HeldJobs()
    for number in range(5):
        held_jobs.add(a_held_job(str(number)))

    for held in held_jobs:
        held_jobs.remove(held)

    assert len(held_jobs) == 0


async def test_whoever_waits_for_a_change_is_woken_by_the_next_one() -> None:
    held_jobs = HeldJobs()
    held = a_held_job()
    woken = []

    async def wait() -> None:
        await held_jobs.wait_for_change()
        woken.append(len(held_jobs))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await asyncio.sleep(0)
        held_jobs.add(held)

    assert woken == [1, 1]


async def test_whoever_waits_for_nothing_to_be_held_waits_for_all_of_it() -> None:
    held_jobs = HeldJobs()
    one, other = a_held_job("one"), a_held_job("other")
    held_jobs.add(one)
    held_jobs.add(other)
    seen = []

    async def wait() -> None:
        await held_jobs.wait_until_written()
        seen.append(len(held_jobs))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await asyncio.sleep(0)
        held_jobs.remove(one)
        await asyncio.sleep(0)
        assert seen == []
        held_jobs.remove(other)

    assert seen == [0]


async def test_nobody_waits_for_an_end_that_a_damaged_key_holds_up() -> None:
    held_jobs = HeldJobs()
    held = a_held_job("one")
    held_jobs.add(held)

    async with anyio.create_task_group() as group:
        group.start_soon(held_jobs.wait_until_written)
        await asyncio.sleep(0)
        assert not held_jobs.are_written
        held_jobs.mark_damaged(held)

    assert held_jobs.are_written
    assert len(held_jobs) == 1


@dataclass
class ManualClock:
    """A clock that stands where it is put."""

    seconds: float = 100.0
    wall_ms: int = 1_000_000
    slept_s: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def boottime(self) -> float:
        return self.seconds + self.slept_s

    def now_ms(self) -> int:
        return self.wall_ms


def test_redis_time_is_carried_on_by_our_own_clock() -> None:
    clock = ManualClock()
    server = ServerClock(clock)

    assert server.now_ms() == 1_000_000
    server.set(5_000_000)
    clock.seconds += 2.5
    clock.wall_ms = 0  # a step of the wall clock moves nothing

    assert server.now_ms() == 5_002_500
