"""A stopped worker is killed, but not before its time is up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from oneshot_queue.workers.supervisor.stopped_workers import StoppedWorkers
from tests.support.faults import frozen, states_of_threads
from tests.support.waiting import wait_until


@pytest.fixture
def pids() -> Iterator[list[int]]:
    """Two processes that sleep until the test is over."""
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(["sleep", "300"])) for _ in range(2)]
        for process in processes:
            stack.callback(process.kill)
        yield [process.pid for process in processes]


def test_stopped_worker_is_named_once_and_a_continued_one_is_not(pids: list[int]) -> None:
    still, moving = pids
    stopped_workers = StoppedWorkers(lease_s=45.0)

    with frozen(still):
        with frozen(moving):
            early = [stopped_workers.check(pids, float(at_s)) for at_s in range(85)]
        wait_until(lambda: states_of_threads(moving), lambda states: "T" not in states, what="it to go on")
        late = {at_s: stopped_workers.check(pids, float(at_s)) for at_s in range(85, 200)}

    assert not any(early)
    assert {at_s: found for at_s, found in late.items() if found} == {90: [still]}


def test_supervisor_that_was_stopped_too_gives_its_workers_their_time(pids: list[int]) -> None:
    stopped_workers = StoppedWorkers(lease_s=30.0)

    with frozen(*pids):
        assert [stopped_workers.check(pids, at_s) for at_s in (0.0, 1.0, 3_600.0)] == [[], [], []]
