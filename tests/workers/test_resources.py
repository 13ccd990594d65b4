"""Commands leave no descriptor, thread or zombie, and silent ones cost little CPU time."""

from __future__ import annotations

import threading
import time

from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.workers.orchestrator import run_commands
from oneshot_queue.workers.task import OneshotTask
from tests.support.cases import case
from tests.support.leftovers import children
from tests.support.limits import limit_s
from tests.workers.recorder import Recorder, a_guest, a_worker, descriptors


@case("P15")
async def test_500_commands_leave_no_descriptor_thread_or_zombie(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=4) as orchestrator:
        await orchestrator.submit(["true"]).wait()
        before, threads, processes = descriptors(), threading.active_count(), children()
        specs = (["true"], ["no-such-program"], JobSpec(["cat"], stdin=b"x"), ["sh", "-c", "setsid sleep 300 & exit 1"])
        tasks = [orchestrator.submit(specs[turn % 4]) for turn in range(500)]
        for task in tasks:
            await task.wait()
        await orchestrator.wait_for_slot()
        assert (descriptors(), threading.active_count(), children()) == (before, threads, processes)


async def test_orchestrator_leaves_no_descriptor(recorder: Recorder) -> None:
    before = descriptors()

    for _ in range(3):
        async with a_guest(recorder) as orchestrator:
            orchestrator.submit(["true"])

    assert descriptors() == before


def test_run_commands_leaves_no_descriptor() -> None:
    run_commands([["true"]])
    before = descriptors()

    run_commands([["true"]] * 20)

    assert descriptors() == before


async def test_500_silent_commands_cost_little_cpu_time(recorder: Recorder) -> None:
    async with a_worker(recorder, max_concurrent=500) as orchestrator:
        tasks = [orchestrator.submit(["sleep", "300"]) for _ in range(500)]
        await recorder.until(lambda: recorder.kinds().count("TaskStarted") == 500)
        before = time.process_time()
        beats = 10
        for _ in range(beats):
            assert await orchestrator._heartbeat.run_once() == 500
        per_beat_s = (time.process_time() - before) / beats
        orchestrator.kill()
        for task in tasks:
            await task.wait()

    # The target is 2 % of a core: 20 ms at one beat per second. The limit is five times that, for slow machines.
    assert per_beat_s < limit_s(0.1)
    assert {task.state for task in tasks} == {JobState.INTERRUPTED}


async def test_task_without_an_orchestrator_leaves_no_descriptor() -> None:
    before = descriptors()

    for command in (["true"], ["no-such-program"]):
        await OneshotTask("t", command).run()

    assert descriptors() == before
