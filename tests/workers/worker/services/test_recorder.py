"""The recorder records each result once, survives refusals, and forgets fenced jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerRefused
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.workers.worker.services.recorder import Recorder
from oneshot_queue.workers.worker.spool import Spool
from oneshot_queue.workers.worker.spooler import Spooler
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.held_jobs import FENCED, HeldJobs
from tests.support.limits import limit_s
from tests.support.waiting import eventually
from tests.workers.worker.builders import RecordingControl, a_held_job, a_session, ended, no_held_jobs


class Connection:
    """Gives the configured answers, and counts the calls."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[int] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def run_many(self, calls: list[Any]) -> list[Any]:
        self.asked.append(len(calls))
        self.meanwhile()
        answer = self._answers.pop(0) if self._answers else Recorded()
        if isinstance(answer, BrokerRefused):
            raise answer
        return [answer for _ in calls]


def a_recorder(connection: Connection, held_jobs: HeldJobs) -> Recorder:
    session = a_session(connection, clock=SystemClock())
    return Recorder(
        session,
        held_jobs,
        control=RecordingControl(),
        spooler=Spooler(session, Spool(None)),
        window=BatchWindow(Mock(is_rush=False)),
    )


@pytest.mark.timeout(10)  # If it fails, it loops without ever waiting.
async def test_changes_of_a_fenced_job_are_forgotten() -> None:
    connection, held_jobs, held = Connection(), no_held_jobs(), a_held_job()
    held_jobs.add(held)
    recorder = a_recorder(connection, held_jobs)
    recorder.add_change(held, "detect_silence")
    held.phase = FENCED

    with anyio.fail_after(limit_s(5)):
        async with anyio.create_task_group() as group:
            group.start_soon(recorder.run)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    assert held.changes == []
    assert connection.asked == []


async def test_a_refused_login_does_not_end_the_recorder() -> None:
    connection = Connection(BrokerRefused("redis://", "WRONGPASS", "check it"))
    held_jobs, held = no_held_jobs(), a_held_job()
    held_jobs.add(held)
    recorder = a_recorder(connection, held_jobs)
    recorder.add_change(held, "detect_silence")

    async with anyio.create_task_group() as group:
        group.start_soon(recorder.run)
        await eventually(lambda: not held.changes, what="the change to be recorded")
        group.cancel_scope.cancel()

    assert connection.asked == [1, 1]


async def test_a_result_is_recorded_once_though_the_job_is_scheduled_again_meanwhile() -> None:
    connection, held_jobs, held = Connection(), no_held_jobs(), a_held_job()
    held_jobs.add(held)
    recorder = a_recorder(connection, held_jobs)
    connection.meanwhile = lambda: recorder.schedule(held)
    held.phase = ended()
    recorder.schedule(held)

    assert [await recorder.run_once(), await recorder.run_once()] == [1, 0]

    assert connection.asked == [1]
    assert len(held_jobs) == 0


@pytest.mark.parametrize("count", [51, 52, 200, 201])
async def test_unrecorded_changes_are_bounded_and_silence_and_activity_still_alternate(count: int) -> None:
    held_jobs, held = no_held_jobs(), a_held_job()
    recorder = a_recorder(Connection(), held_jobs)

    recorder.add_change(held)
    for number in range(count):
        recorder.add_change(held, "detect_activity" if number % 2 else "detect_silence")

    events = [change.event for change in held.changes]
    assert len(events) <= 50
    assert events[0] is None
    assert all(one != other for one, other in itertools.pairwise(events))
    assert events[-1] == ("detect_silence" if count % 2 else "detect_activity")
    sequences = [change.sequence for change in held.changes]
    assert sequences == sorted(set(sequences))
