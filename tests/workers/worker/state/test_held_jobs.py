"""A worker knows which jobs it holds, which it ever received, and the time on Redis' clock."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from oneshot_queue.store.attempts import Holder
from oneshot_queue.workers.worker.state import held_jobs as held_jobs_module
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.server_clock import ServerClock
from tests.workers.worker.builders import ManualClock, RecordingStarts, a_held_job, no_held_jobs


def test_a_job_is_found_by_its_queue_and_id_and_by_its_task() -> None:
    held_jobs = no_held_jobs()
    one, other = a_held_job("same", queue="a"), a_held_job("same", queue="b")

    held_jobs.add(one)
    held_jobs.add(other)

    assert held_jobs.find("a", "same") is one
    assert held_jobs.find("b", "same") is other
    assert held_jobs.by_task(one.task_id) is one
    assert held_jobs.find("c", "same") is None
    assert (len(held_jobs), list(held_jobs)) == (2, [one, other])


def test_an_attempt_is_known_as_received_even_when_it_has_long_ended() -> None:
    held_jobs = no_held_jobs()
    held = a_held_job(token="7")
    held_jobs.add(held)

    held_jobs.remove(held)

    assert held_jobs.has_received("queue", "job", "7")
    assert not held_jobs.has_received("queue", "job", "8")
    assert not held_jobs.has_received("other", "job", "7")


def test_a_job_that_was_handed_over_again_is_known_under_both_tokens() -> None:
    starts = RecordingStarts()
    held_jobs = HeldJobs(starts)
    held = a_held_job(token="7")
    held_jobs.add(held)

    held_jobs.hand_over(held, Holder("8", "worker.2", "worker"))

    assert (held.holder.token, list(held_jobs)) == ("8", [held])
    assert starts.calls == [("hold", held), ("hand over", held)]
    assert all(held_jobs.has_received("queue", "job", token) for token in ("7", "8"))


def test_the_number_of_remembered_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_jobs_module, "REMEMBERED_TOKENS", 10)
    held_jobs = no_held_jobs()

    for number in range(100):
        held = a_held_job(f"job-{number}", token=str(number))
        held_jobs.add(held)
        held_jobs.remove(held)

    assert [held_jobs.has_received("queue", f"job-{number}", str(number)) for number in (89, 90, 99)] == [
        False,
        True,
        True,
    ]


def test_removing_an_earlier_attempt_leaves_a_later_one_of_the_same_job() -> None:
    held_jobs = no_held_jobs()
    earlier, later = a_held_job(token="1"), a_held_job(token="2")
    held_jobs.add(earlier)
    held_jobs.add(later)

    held_jobs.remove(earlier)

    assert held_jobs.find("queue", "job") is later


def test_jobs_may_be_removed_while_they_are_iterated() -> None:
    held_jobs = no_held_jobs()
    for number in range(5):
        held_jobs.add(a_held_job(str(number)))

    for held in held_jobs:
        held_jobs.remove(held)

    assert len(held_jobs) == 0


async def test_waiters_for_a_change_are_woken_by_the_next_one() -> None:
    held_jobs = no_held_jobs()
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


async def test_waiting_for_results_lasts_until_all_are_recorded() -> None:
    held_jobs = no_held_jobs()
    one, other = a_held_job("one"), a_held_job("other")
    held_jobs.add(one)
    held_jobs.add(other)
    seen = []

    async def wait() -> None:
        await held_jobs.wait_until_recorded()
        seen.append(len(held_jobs))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await asyncio.sleep(0)
        held_jobs.remove(one)
        await asyncio.sleep(0)
        assert seen == []
        held_jobs.remove(other)

    assert seen == [0]


async def test_waiting_for_results_skips_one_that_a_damaged_key_blocks() -> None:
    held_jobs = no_held_jobs()
    held = a_held_job("one")
    held_jobs.add(held)

    async with anyio.create_task_group() as group:
        group.start_soon(held_jobs.wait_until_recorded)
        await asyncio.sleep(0)
        assert not held_jobs.are_recorded
        held_jobs.mark_damaged(held)

    assert held_jobs.are_recorded
    assert len(held_jobs) == 1


def test_redis_time_is_carried_on_by_the_monotonic_clock() -> None:
    clock = ManualClock()
    server = ServerClock(clock)

    assert server.now_ms() == 1_000_000
    server.set(5_000_000)
    clock.seconds += 2.5
    clock.wall_ms = 0  # a step of the wall clock moves nothing

    assert server.now_ms() == 5_002_500
