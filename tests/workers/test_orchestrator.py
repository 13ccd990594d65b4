"""Many commands at once: never more than allowed, none forgotten, nothing left however the block is left."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

from oneshot_queue.errors import InvalidJob, InvalidSetting
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import Event, SilenceDetected, TaskEnded, TaskStarted
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.task import OneshotTask
from tests.support.markers import ProcessMarker
from tests.support.waiting import eventually
from tests.workers.recorder import ManualClock, Recorder, a_guest, a_worker


async def test_the_limiter_limits_running_tasks(recorder: Recorder) -> None:
    running: set[str] = set()
    most = 0

    def count(event: Event) -> None:
        nonlocal most
        match event:
            case TaskStarted():
                running.add(event.task_id)
            case TaskEnded():
                running.discard(event.task_id)
        in_machine = sum(task.state in (JobState.RUNNING, JobState.IDLE) for task in orchestrator.tasks.values())
        most = max(most, len(running), in_machine)

    orchestrator = a_worker(recorder, max_concurrent=3, observers=[recorder, count])
    async with orchestrator:
        tasks = [orchestrator.submit(["sleep", "0.05"]) for _ in range(20)]
        assert [task.state for task in tasks] == [JobState.CREATED] * 20

    assert most == 3
    assert [task.state for task in tasks] == [JobState.COMPLETED] * 20


async def test_tasks_begin_in_the_order_they_came(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=2) as orchestrator:
        ids = [orchestrator.submit(["true"]).task_id for _ in range(12)]

    assert [event.task_id for event in recorder.of(TaskStarted)] == ids


async def test_free_slots_are_what_could_begin_at_once(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=2) as orchestrator:
        assert orchestrator.free_slots == 2
        first = orchestrator.submit(["sleep", "300"])
        assert orchestrator.free_slots == 1
        orchestrator.submit(["sleep", "300"])
        third = orchestrator.submit(["sleep", "300"])
        assert orchestrator.free_slots == 0
        third.interrupt()
        assert orchestrator.free_slots == 0
        first.interrupt()
        await orchestrator.wait_for_slot()
        assert orchestrator.free_slots == 1
        orchestrator.kill()


async def test_a_task_on_a_free_slot_begins_in_the_next_turn_of_the_loop(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        orchestrator.submit(["true"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert recorder.kinds()[:1] == ["TaskStarted"]


async def test_on_end_is_called_once_after_the_observers(recorder: Recorder) -> None:
    ends: list[tuple[str, JobState, list[str]]] = []

    def on_end(task: OneshotTask, outcome: Outcome) -> None:
        ends.append((task.task_id, outcome.state, recorder.kinds(task.task_id)[-1:]))

    async with a_worker(recorder, max_concurrent=1) as orchestrator:
        first = orchestrator.submit(["true"], on_end=on_end)
        second = orchestrator.submit(["true"], on_end=on_end)
        second.interrupt()

    assert ends == [
        (second.task_id, JobState.INTERRUPTED, ["TaskEnded"]),
        (first.task_id, JobState.COMPLETED, ["TaskEnded"]),
    ]


async def test_leaving_the_block_waits_for_every_task(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=1) as orchestrator:
        tasks = [orchestrator.submit(["sleep", "0.05"]) for _ in range(3)]

    assert [task.outcome and task.outcome.state for task in tasks] == [JobState.COMPLETED] * 3


async def test_shutdown_interrupts_everything_and_takes_nothing_more(recorder: Recorder, marker: ProcessMarker) -> None:
    async with a_worker(recorder, max_concurrent=2) as orchestrator:
        tasks = [orchestrator.submit(["sh", "-c", f"setsid {marker.sleep} & {marker.sleep}"]) for _ in range(4)]
        await eventually(marker.alive, lambda alive: len(alive) == 4)
        await orchestrator.shutdown()
        assert marker.alive() == []
        assert {task.state for task in tasks} == {JobState.INTERRUPTED}
        with pytest.raises(RuntimeError, match="shutting down"):
            orchestrator.submit(["true"])

    assert len(recorder.of(TaskStarted)) == 2


async def test_who_waits_for_a_slot_hears_of_the_shutdown(recorder: Recorder) -> None:
    refused: list[str] = []

    async def claim() -> None:
        try:
            await orchestrator.wait_for_slot()
        except RuntimeError as error:
            refused.append(str(error))

    async with a_worker(recorder, max_concurrent=1) as orchestrator, anyio.create_task_group() as group:
        orchestrator.submit(["sleep", "300"])
        group.start_soon(claim)
        await recorder.started()
        await orchestrator.shutdown()

    assert len(refused) == 1


async def test_kill_ends_at_once_what_would_not_listen(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
        await recorder.wrote(b"ready")
        await_shutdown = time.monotonic()
        task.interrupt(grace=300)
        orchestrator.kill()

    assert time.monotonic() - await_shutdown < 10
    assert task.outcome is not None
    assert task.outcome.signal == signal.SIGKILL


@pytest.mark.parametrize("kind", [a_worker, a_guest])
async def test_leaving_the_block_by_an_error_leaves_no_process(
    kind: Any, recorder: Recorder, marker: ProcessMarker
) -> None:
    script = f"trap '' TERM; setsid env -i {marker.sleep} & {marker.sleep} & {marker.sleep}"

    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what is in the block when it is left is the point
        async with kind(recorder, max_concurrent=1) as orchestrator:
            running = orchestrator.submit(["sh", "-c", script])
            waiting = orchestrator.submit(["sleep", "300"])
            await eventually(marker.alive, lambda alive: len(alive) == 3)
            raise ZeroDivisionError

    assert marker.alive() == []
    assert (running.state, waiting.state) == (JobState.INTERRUPTED, JobState.INTERRUPTED)
    assert len(recorder.of(TaskEnded)) == 2


@pytest.mark.parametrize("in_body", [True, False])
async def test_cancellation_leaves_no_process(in_body: bool, recorder: Recorder, marker: ProcessMarker) -> None:
    script = f"trap '' TERM; setsid {marker.sleep} & {marker.sleep} & {marker.sleep}"

    async def work() -> None:
        async with a_worker(recorder, max_concurrent=1) as orchestrator:
            orchestrator.submit(["sh", "-c", script])
            orchestrator.submit(["sleep", "300"])
            if in_body:
                await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await eventually(marker.alive, lambda alive: len(alive) == 3)
        group.cancel_scope.cancel()

    assert marker.alive() == []
    assert [event.outcome.cause for event in recorder.of(TaskEnded)] == [Cause.INTERRUPTED] * 2


async def test_cancellation_by_plain_asyncio_leaves_no_process(recorder: Recorder, marker: ProcessMarker) -> None:
    async def work() -> None:
        async with a_worker(recorder) as orchestrator:
            orchestrator.submit(["sh", "-c", f"setsid {marker.sleep} & {marker.sleep}"])

    task = asyncio.get_running_loop().create_task(work())
    await eventually(marker.alive, lambda alive: len(alive) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert marker.alive() == []


async def test_a_time_limit_of_anyio_around_the_block_works(recorder: Recorder, marker: ProcessMarker) -> None:
    with anyio.move_on_after(0.2) as scope:
        async with a_worker(recorder) as orchestrator:
            orchestrator.submit(marker.sleep.split())

    assert scope.cancelled_caught
    assert marker.alive() == []


async def test_the_heartbeat_is_as_fast_as_the_shortest_limit_asks(recorder: Recorder) -> None:
    async with a_worker(recorder, heartbeat_s=300) as orchestrator:
        slow = orchestrator.submit(["sleep", "300"])
        await recorder.started(slow.task_id)
        quick = orchestrator.submit(JobSpec(["sleep", "300"], idle_after=0.1))
        await recorder.until(lambda: recorder.of(SilenceDetected, quick.task_id))
        assert slow.state is JobState.RUNNING
        orchestrator.kill()


async def test_a_task_takes_the_clock_it_is_given(recorder: Recorder, clock: ManualClock) -> None:
    async with a_worker(recorder, clock=clock, heartbeat_s=0.01) as orchestrator:
        task = orchestrator.submit(JobSpec(["sleep", "300"], time_limit=86_400))
        await recorder.started()
        clock.now += 86_400
        assert (await task.wait()).cause is Cause.TIME_LIMIT


async def test_what_makes_no_sense_is_refused_before_anything_runs(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        with pytest.raises(InvalidJob):
            orchestrator.submit([])
        first = orchestrator.submit(["sleep", "300"], task_id="one")
        with pytest.raises(ValueError, match="task one has not ended yet"):
            orchestrator.submit(["true"], task_id="one")
        first.interrupt()
        await first.wait()
        assert (await orchestrator.submit(["true"], task_id="one").wait()).exit_code == 0


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_concurrency_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSetting, match="max_concurrent"):
        AsyncOrchestrator(max_concurrent=value)


def test_another_event_loop_is_refused_with_a_reason() -> None:
    entering: Coroutine[Any, Any, Any] = AsyncOrchestrator().__aenter__()

    with pytest.raises(RuntimeError, match="asyncio"):
        entering.send(None)


async def test_submitting_outside_the_block_is_refused() -> None:
    orchestrator = AsyncOrchestrator()

    with pytest.raises(RuntimeError, match="not entered"):
        orchestrator.submit(["true"])
