"""An interrupt takes effect at any time: before, during and after the life of the process."""

from __future__ import annotations

import errno
import signal
from functools import partial

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from oneshot_queue.task_events import InterruptStarted, SilenceDetected, SpawnDelayed, TaskEnded, TaskStarted
from oneshot_queue.workers import task as task_module
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.processes.spawning import SpawnPostponed
from tests.support.markers import ProcessMarker
from tests.support.waiting import eventually
from tests.workers.recorder import ManualClock, Recorder, a_worker, state_of


async def test_interrupt_of_a_waiting_task_ends_it_without_starting_a_process(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=1) as orchestrator:
        first = orchestrator.submit(["sleep", "300"])
        second = orchestrator.submit(["sleep", "300"])
        assert orchestrator.interrupt(second.task_id)
        assert second.outcome is not None
        assert second.state is JobState.INTERRUPTED
        assert orchestrator.free_slots == 0
        orchestrator.interrupt(first.task_id)

    assert (second.outcome.cause, second.outcome.exit_code, second.outcome.signal) == (Cause.INTERRUPTED, None, None)
    assert recorder.kinds(second.task_id) == ["TaskEnded"]


async def test_interrupt_before_the_first_turn_of_the_loop_starts_no_process(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sleep", "300"])
        task.interrupt()
        await task.wait()
        assert (await orchestrator.submit(["true"]).wait()).exit_code == 0

    assert recorder.kinds(task.task_id) == ["TaskEnded"]


async def test_interrupt_while_the_start_is_delayed_starts_no_process(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptors(*_: object, **__: object) -> None:
        raise SpawnPostponed(OSError(errno.EMFILE, "Too many open files"))

    monkeypatch.setattr(task_module, "spawn", no_descriptors)

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["true"])
        await recorder.until(lambda: len(recorder.of(SpawnDelayed)) >= 2)
        assert task.state is JobState.CREATED
        assert task.interrupt()
        outcome = await task.wait()

    assert outcome.state is JobState.INTERRUPTED
    assert recorder.of(TaskStarted) == []


async def test_interrupt_from_an_observer_of_the_start_ends_the_command(recorder: Recorder) -> None:
    def on_event(event: object) -> None:
        if isinstance(event, TaskStarted):
            orchestrator.interrupt(event.task_id)

    orchestrator = AsyncOrchestrator(observers=[recorder, on_event], owns_children=True)
    async with orchestrator:
        outcome = await orchestrator.submit(["sleep", "300"]).wait()

    assert outcome.state is JobState.INTERRUPTED
    assert recorder.kinds() == ["TaskStarted", "InterruptStarted", "TaskEnded"]


async def test_interrupt_of_an_idle_command_ends_it(recorder: Recorder, clock: ManualClock) -> None:
    async with a_worker(recorder, clock=clock, heartbeat_s=0.01) as orchestrator:
        task = orchestrator.submit(["sleep", "300"])
        await recorder.started()
        clock.now += 61
        await recorder.until(lambda: recorder.of(SilenceDetected))
        assert task.state is JobState.IDLE
        task.interrupt()
        outcome = await task.wait()

    assert outcome.state is JobState.INTERRUPTED


async def test_interrupt_after_the_leader_exited_is_refused(recorder: Recorder, marker: ProcessMarker) -> None:
    # Ignore TERM before the fork: a child that dies of TERM would end the command too soon.
    script = f"trap '' TERM; {marker.sleep} & exit 3"

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", script])
        pid = (await recorder.started()).pid
        await eventually(lambda: state_of(pid), lambda state: state == "Z")
        assert task.outcome is None, "the task has not ended while a process of it is left"
        assert not task.interrupt()
        outcome = await task.wait()
        assert marker.alive() == []

    assert (outcome.state, outcome.exit_code) == (JobState.FAILED, 3)
    assert recorder.of(InterruptStarted) == []
    assert not task.interrupt()


async def test_interrupt_racing_the_exit_returns_what_the_outcome_will_be(recorder: Recorder) -> None:
    returned: dict[str, bool] = {}

    async with a_worker(recorder) as orchestrator:
        for turn in range(60):
            task = orchestrator.submit(["true"])
            started = await recorder.started(task.task_id)
            if turn % 3 == 0:
                await eventually(partial(state_of, started.pid), lambda state: state in ("Z", ""))
            returned[task.task_id] = task.interrupt(grace=0)
            await task.wait()

    ended = {event.task_id: event.outcome.state for event in recorder.of(TaskEnded)}
    assert len(recorder.of(TaskEnded)) == 60
    assert {task_id: state is JobState.INTERRUPTED for task_id, state in ended.items()} == returned


async def test_interrupt_of_an_unknown_task_returns_false(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        assert not orchestrator.interrupt("nobody")


async def test_interrupt_event_of_the_state_machine_interrupts_the_command(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sleep", "300"])
        await recorder.started()
        task.machine.interrupt()
        outcome = await task.wait()

    assert (outcome.state, outcome.signal) == (JobState.INTERRUPTED, signal.SIGTERM)
