"""The outcome names how a command ended: by exit code, signal, limit or interrupt."""

from __future__ import annotations

import os
import signal

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import ActivityDetected, InterruptStarted, SilenceDetected
from tests.support.cases import case
from tests.support.markers import ProcessMarker
from tests.support.waiting import eventually
from tests.workers.recorder import ManualClock, Recorder, a_worker, python


@pytest.mark.parametrize(
    ("codes", "code", "state"),
    [
        ([0], 0, JobState.COMPLETED),
        ([0], 1, JobState.FAILED),
        ([0], 255, JobState.FAILED),
        ([0, 3], 3, JobState.COMPLETED),
        ([3], 0, JobState.FAILED),
    ],
)
async def test_state_follows_from_the_exit_code_and_the_success_codes(
    codes: list[int], code: int, state: JobState, recorder: Recorder
) -> None:
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(JobSpec(["sh", "-c", f"exit {code}"], success_codes=codes)).wait()

    assert (outcome.state, outcome.cause, outcome.exit_code, outcome.signal) == (state, Cause.EXIT, code, None)


@case("P11")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
async def test_foreign_signal_is_a_failure_not_an_interrupt(number: int, recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(["sh", "-c", f"ulimit -c 0; kill -{int(number)} $$"]).wait()

    assert (outcome.state, outcome.cause) == (JobState.FAILED, Cause.SIGNAL)
    assert (outcome.exit_code, outcome.signal) == (None, number)


async def test_command_with_a_segmentation_fault_fails_by_signal(recorder: Recorder) -> None:
    crash = python("import ctypes, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ctypes.string_at(0)")

    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(crash).wait()

    assert outcome.signal == signal.SIGSEGV


async def test_interrupted_command_that_exits_with_0_is_interrupted(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done"])
        await recorder.wrote(b"ready")
        task.interrupt()
        outcome = await task.wait()

    assert (outcome.state, outcome.cause, outcome.exit_code) == (JobState.INTERRUPTED, Cause.INTERRUPTED, 0)


async def test_usage_holds_cpu_time_and_memory(recorder: Recorder) -> None:
    work = python("x = bytearray(150_000_000)\nfor _ in range(2_000_000): pass")

    async with a_worker(recorder) as orchestrator:
        usage = (await orchestrator.submit(work).wait()).usage

    assert usage.cpu_user_s > 0.01
    assert usage.max_rss_bytes > 150_000_000


async def test_time_limit_ends_all_processes_and_fails_the_task(
    recorder: Recorder, clock: ManualClock, marker: ProcessMarker
) -> None:
    async with a_worker(recorder, clock=clock) as orchestrator:
        spec = JobSpec(["sh", "-c", f"setsid {marker.sleep} & {marker.sleep}"], time_limit=0.04)
        task = orchestrator.submit(spec)
        await eventually(marker.alive, lambda alive: len(alive) == 2)
        assert task.state is JobState.RUNNING
        clock.now += 1
        outcome = await task.wait()
        assert marker.alive() == []

    assert (outcome.state, outcome.cause, outcome.signal) == (JobState.FAILED, Cause.TIME_LIMIT, signal.SIGTERM)
    assert recorder.of(InterruptStarted) == [InterruptStarted(task.task_id, "time_limit", None)]


@case("P12")
async def test_time_limit_kills_a_command_that_ignores_sigterm(recorder: Recorder, clock: ManualClock) -> None:
    async with a_worker(recorder, clock=clock) as orchestrator:
        script = "trap '' TERM; echo ready; while :; do sleep 0.02; done"
        task = orchestrator.submit(JobSpec(["sh", "-c", script], time_limit=0.04, grace=0.1))
        await recorder.wrote(b"ready")
        clock.now += 1
        outcome = await task.wait()

    assert (outcome.cause, outcome.signal) == (Cause.TIME_LIMIT, signal.SIGKILL)


async def test_interrupt_after_the_time_limit_wins(recorder: Recorder, clock: ManualClock) -> None:
    async with a_worker(recorder, clock=clock) as orchestrator:
        script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done"
        task = orchestrator.submit(JobSpec(["sh", "-c", script], time_limit=0.04, grace=300))
        await recorder.wrote(b"ready")
        clock.now += 1
        await recorder.wrote(b"asked")
        assert task.state is JobState.RUNNING
        assert task.interrupt(grace=0.05)
        outcome = await task.wait()

    assert (outcome.state, outcome.cause) == (JobState.INTERRUPTED, Cause.INTERRUPTED)


async def test_silence_makes_a_task_idle_and_output_makes_it_running(recorder: Recorder, clock: ManualClock) -> None:
    async with a_worker(recorder, clock=clock, heartbeat_s=0.01) as orchestrator:
        task = orchestrator.submit(
            JobSpec(["sh", "-c", "trap 'echo back' USR1; echo ready; while :; do sleep 0.01; done"])
        )
        await recorder.wrote(b"ready", task.task_id)
        clock.now += 59
        await orchestrator._heartbeat.run_once()
        assert recorder.of(SilenceDetected) == []
        clock.now += 1
        await orchestrator._heartbeat.run_once()
        assert task.machine.state is JobState.IDLE
        assert recorder.of(SilenceDetected) == [SilenceDetected(task.task_id, 60.0)]
        assert task.pid is not None
        os.kill(task.pid, signal.SIGUSR1)
        await recorder.wrote(b"back", task.task_id)
        assert task.state is JobState.RUNNING
        task.interrupt()

    kinds = recorder.kinds(task.task_id)
    assert kinds.index("ActivityDetected") == kinds.index("SilenceDetected") + 1
    assert len(recorder.of(ActivityDetected)) == 1


async def test_idle_timeout_ends_a_silent_command(recorder: Recorder, clock: ManualClock) -> None:
    async with a_worker(recorder, clock=clock) as orchestrator:
        task = orchestrator.submit(JobSpec(["sleep", "300"], idle_after=0, idle_timeout=0.04))
        await recorder.started()
        clock.now += 1
        outcome = await task.wait()

    assert (outcome.state, outcome.cause) == (JobState.FAILED, Cause.IDLE_TIMEOUT)
    assert recorder.of(SilenceDetected) == []
