"""A worker's presence names what it runs, and that it drains; it is removed at the end."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from oneshot_queue.store.calls import Call
from oneshot_queue.wire.presences import WorkerPresence, unpack_presence
from oneshot_queue.workers.ipc.messages import Assignment
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.worker.services import presence as presence_module
from oneshot_queue.workers.worker.services.presence import Presence
from tests.support.waiting import eventually
from tests.workers.worker.builders import a_held_job, a_session, no_held_jobs


class Connection:
    """Keeps every presence that is shown."""

    def __init__(self) -> None:
        self.shown: list[WorkerPresence] = []
        self.calls = 0

    async def run(self, call: Call[Any]) -> None:
        self.calls += 1
        for word in call.words:
            if isinstance(word, bytes) and len(word) > 20:
                self.shown.append(unpack_presence(word))


class Harness:
    """The presence of a worker with two slots."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.held_jobs = no_held_jobs()
        assignment = Assignment("w", "s", 2, 3, None, None, WorkerOptions(url="redis://", queues=("queue",)))
        self.presence = Presence(
            a_session(self.connection), self.held_jobs, assignment, concurrency=2, containment="cgroup"
        )


async def test_presence_names_the_running_jobs_and_the_place_among_the_processes() -> None:
    harness = Harness()
    harness.held_jobs.add(a_held_job("a"))
    harness.held_jobs.add(a_held_job("b"))

    assert await harness.presence.run_once() == 2

    (shown,) = harness.connection.shown
    assert (shown.running, shown.concurrency, shown.layer) == (("a", "b"), 2, "cgroup")
    assert (shown.supervisor, shown.process, shown.processes) == ("s", 2, 3)
    assert (shown.name, shown.host, shown.pid) == ("name", "host", 1)


async def test_draining_worker_shows_no_slots() -> None:
    harness = Harness()

    harness.presence.drain()
    await harness.presence.run_once()

    assert harness.connection.shown[0].concurrency == 0


async def test_a_new_job_is_shown_long_before_the_period_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "SHORTEST_PERIOD_S", 0.0)
    monkeypatch.setattr(presence_module, "PERIOD_S", 3_600.0)
    harness = Harness()
    await harness.presence.run_once()

    async with anyio.create_task_group() as group:
        group.start_soon(harness.presence.run)
        await anyio.wait_all_tasks_blocked()
        harness.held_jobs.add(a_held_job("a"))
        await eventually(
            lambda: harness.connection.shown[-1].running, lambda running: running == ("a",), what="the job"
        )
        group.cancel_scope.cancel()


async def test_presence_is_removed_at_the_end() -> None:
    harness = Harness()

    await harness.presence.end()

    assert (harness.connection.calls, harness.connection.shown) == (1, [])
