"""What the recorder owes to jobs that are not this worker's any more: nothing, and no attention."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerRefused
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.workers.worker.services.recorder import Recorder
from oneshot_queue.workers.worker.spool import Spool
from oneshot_queue.workers.worker.spooler import Spooler
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.server_clock import ServerClock
from tests.support.waiting import eventually
from tests.workers.worker.state.test_held_jobs import a_held_job


class Connection:
    """Answers as it was told to, and counts what it was asked."""

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
    return Recorder(
        connection=connection,  # type: ignore[arg-type]
        held_jobs=held_jobs,
        clock=SystemClock(),
        settings=Settings(),
        on_fenced=lambda _: None,
        spooler=Spooler(Spool(None), SystemClock(), ServerClock(SystemClock())),
        window=BatchWindow(lambda: False),
    )


@pytest.mark.timeout(10)  # it goes round without ever waiting, if it fails
async def test_changes_of_a_fenced_job_are_forgotten_not_looked_at_for_ever() -> None:
    connection, held_jobs, held = Connection(), HeldJobs(), a_held_job()
    held_jobs.add(held)
    recorder = a_recorder(connection, held_jobs)
    recorder.note(held, "detect_silence")
    held.is_fenced = True

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(recorder.run)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    assert held.changes == []
    assert connection.asked == []


async def test_a_refused_login_ends_no_recorder() -> None:
    connection = Connection(BrokerRefused("redis://", "WRONGPASS", "check it"))
    held_jobs, held = HeldJobs(), a_held_job()
    held_jobs.add(held)
    recorder = a_recorder(connection, held_jobs)
    recorder.note(held, "detect_silence")

    async with anyio.create_task_group() as group:
        group.start_soon(recorder.run)
        await eventually(lambda: not held.changes, what="the change to be recorded")
        group.cancel_scope.cancel()

    assert connection.asked == [1, 1]


async def test_an_end_is_written_once_though_something_came_up_meanwhile() -> None:
    connection, held_jobs, held = Connection(), HeldJobs(), a_held_job()
    held_jobs.add(held)
    recorder = a_recorder(connection, held_jobs)
    connection.meanwhile = lambda: recorder.look_at(held)
    held.ended = (Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=0), 1.0)
    recorder.look_at(held)

    assert [await recorder.run_once(), await recorder.run_once()] == [1, 0]

    assert connection.asked == [1]
    assert len(held_jobs) == 0


@pytest.mark.parametrize("count", [51, 52, 200, 201])
async def test_what_cannot_be_recorded_is_bounded_and_still_takes_turns(count: int) -> None:
    held_jobs, held = HeldJobs(), a_held_job()
    recorder = a_recorder(Connection(), held_jobs)

    recorder.note(held)
    for number in range(count):
        recorder.note(held, "detect_activity" if number % 2 else "detect_silence")

    events = [change.event for change in held.changes]
    assert len(events) <= 50
    assert events[0] is None
    assert all(one != other for one, other in itertools.pairwise(events))
    assert events[-1] == ("detect_silence" if count % 2 else "detect_activity")
    sequences = [change.sequence for change in held.changes]
    assert sequences == sorted(set(sequences))
