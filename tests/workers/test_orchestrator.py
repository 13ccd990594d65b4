"""Many commands at once: never more than the limit, none forgotten, no process left however the block ends."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
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


async def test_no_more_tasks_run_than_the_limit(recorder: Recorder) -> None:
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


async def test_tasks_start_in_the_order_of_submission(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=2) as orchestrator:
        ids = [orchestrator.submit(["true"]).task_id for _ in range(12)]

    assert [event.task_id for event in recorder.of(TaskStarted)] == ids


async def test_free_slots_are_the_tasks_that_would_start_immediately(recorder: Recorder) -> None:
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


async def test_task_with_a_free_slot_starts_in_the_next_turn_of_the_loop(recorder: Recorder) -> None:
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


async def test_subscribed_observer_is_called_after_the_existing_ones(recorder: Recorder) -> None:
    calls: list[tuple[str, str]] = []

    def observer(name: str) -> Callable[[Event], None]:
        return lambda event: calls.append((name, type(event).__name__))

    orchestrator = a_worker(recorder, observers=[observer("first")])
    orchestrator.subscribe(observer("second"))
    async with orchestrator:
        await orchestrator.submit(["true"]).wait()
        orchestrator.subscribe(observer("third"))
        await orchestrator.submit(["true"]).wait()

    names = [name for name, _ in calls]
    assert names == ["first", "second"] * 2 + ["first", "second", "third"] * 2


async def test_each_running_command_costs_one_asyncio_task_and_none_per_stream(recorder: Recorder) -> None:
    before = asyncio.all_tasks()

    async with a_worker(recorder) as orchestrator:
        for _ in range(5):
            task = orchestrator.submit(["sh", "-c", "echo out; echo err >&2; echo ready; exec sleep 300"])
            await recorder.wrote(b"ready", task.task_id)
        created = asyncio.all_tasks() - before
        orchestrator.kill()

    assert len(created) == 5 + 1, "one for each command, and the heartbeat"


async def test_end_of_the_block_waits_for_every_task(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=1) as orchestrator:
        tasks = [orchestrator.submit(["sleep", "0.05"]) for _ in range(3)]

    assert [task.outcome and task.outcome.state for task in tasks] == [JobState.COMPLETED] * 3


async def test_shutdown_interrupts_every_task_and_refuses_new_ones(recorder: Recorder, marker: ProcessMarker) -> None:
    async with a_worker(recorder, max_concurrent=2) as orchestrator:
        tasks = [orchestrator.submit(["sh", "-c", f"setsid {marker.sleep} & {marker.sleep}"]) for _ in range(4)]
        await eventually(marker.alive, lambda alive: len(alive) == 4)
        await orchestrator.shutdown()
        assert marker.alive() == []
        assert {task.state for task in tasks} == {JobState.INTERRUPTED}
        with pytest.raises(RuntimeError, match="shutting down"):
            orchestrator.submit(["true"])

    assert len(recorder.of(TaskStarted)) == 2


async def test_shutdown_raises_in_a_caller_that_waits_for_a_slot(recorder: Recorder) -> None:
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


async def test_kill_ends_a_command_that_ignores_sigterm_at_once(recorder: Recorder) -> None:
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
async def test_error_in_the_block_leaves_no_process(kind: Any, recorder: Recorder, marker: ProcessMarker) -> None:
    script = f"trap '' TERM; setsid env -i {marker.sleep} & {marker.sleep} & {marker.sleep}"

    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the test is about what runs in the block when it fails
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


async def test_anyio_timeout_around_the_block_leaves_no_process(recorder: Recorder, marker: ProcessMarker) -> None:
    with anyio.move_on_after(0.2) as scope:
        async with a_worker(recorder) as orchestrator:
            orchestrator.submit(marker.sleep.split())

    assert scope.cancelled_caught
    assert marker.alive() == []


async def test_heartbeat_is_as_frequent_as_the_shortest_limit_requires(recorder: Recorder) -> None:
    async with a_worker(recorder, heartbeat_s=300) as orchestrator:
        slow = orchestrator.submit(["sleep", "300"])
        await recorder.started(slow.task_id)
        quick = orchestrator.submit(JobSpec(["sleep", "300"], idle_after=0.1))
        await recorder.until(lambda: recorder.of(SilenceDetected, quick.task_id))
        assert slow.state is JobState.RUNNING
        orchestrator.kill()


async def test_time_limit_is_measured_with_the_given_clock(recorder: Recorder, clock: ManualClock) -> None:
    async with a_worker(recorder, clock=clock, heartbeat_s=0.01) as orchestrator:
        task = orchestrator.submit(JobSpec(["sleep", "300"], time_limit=86_400))
        await recorder.started()
        clock.now += 86_400
        assert (await task.wait()).cause is Cause.TIME_LIMIT


async def test_invalid_argv_and_duplicate_task_id_are_refused(recorder: Recorder) -> None:
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
def test_invalid_concurrency_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSetting, match="max_concurrent"):
        AsyncOrchestrator(max_concurrent=value)


def test_event_loop_other_than_asyncio_is_refused() -> None:
    entering: Coroutine[Any, Any, Any] = AsyncOrchestrator().__aenter__()

    with pytest.raises(RuntimeError, match="asyncio"):
        entering.send(None)


async def test_submit_outside_the_block_is_refused() -> None:
    orchestrator = AsyncOrchestrator()

    with pytest.raises(RuntimeError, match="not entered"):
        orchestrator.submit(["true"])
