"""A command may write to a pseudo-terminal. Its output arrives as from a pipe, only sooner."""

from __future__ import annotations

import errno
import os

import pytest

from oneshot_queue.outcomes import Captured, Cause
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import SilenceDetected
from tests.support.markers import ProcessMarker
from tests.workers.recorder import ManualClock, Recorder, a_worker, descriptors, python

# An empty PYTHONUNBUFFERED overrides ours, so this program buffers like any other.
BUFFERING = JobSpec(python("print('hello'); import time; time.sleep(300)"), env={"PYTHONUNBUFFERED": ""})


def on_terminal(script: str, **options: object) -> JobSpec:
    return JobSpec(["sh", "-c", script], pty=True, **options)  # type: ignore[arg-type]


async def test_both_outputs_are_one_terminal_of_80_columns_and_the_input_is_not(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(on_terminal("test -t 1 && test -t 2 && ! test -t 0 && stty size <&1"))

        outcome = await task.wait()

    assert outcome.state is JobState.COMPLETED
    assert outcome.output == Captured(stdout=b"24 80\n")


async def test_every_byte_arrives_unchanged_and_in_order(recorder: Recorder) -> None:
    script = r"printf 'a\n\r\t\004\003\377'; printf 'err\n' >&2; seq 200000"
    async with a_worker(recorder, capture=False) as orchestrator:
        outcome = await orchestrator.submit(on_terminal(script)).wait()

    assert outcome.state is JobState.COMPLETED
    numbers = b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert recorder.output() == b"a\n\r\t\x04\x03\xfferr\n" + numbers


async def test_program_that_buffers_on_a_pipe_writes_at_once_on_a_terminal(
    recorder: Recorder, clock: ManualClock
) -> None:
    async with a_worker(recorder, clock=clock, heartbeat_s=0.01) as orchestrator:
        piped = orchestrator.submit(BUFFERING)
        shown = orchestrator.submit(JobSpec(BUFFERING.command, env=BUFFERING.env, pty=True))
        await recorder.wrote(b"hello\n", shown.task_id)
        clock.now += 61
        await recorder.until(lambda: recorder.of(SilenceDetected, piped.task_id))
        silent = recorder.output(piped.task_id)
        for task in (piped, shown):
            task.interrupt(grace=0)
            await task.wait()

    assert silent == b""


async def test_stdin_arrives_unchanged(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(on_terminal("cat", stdin=b"in\x04\x03\xff")).wait()

    assert outcome.output == Captured(stdout=b"in\x04\x03\xff")


async def test_interrupt_leaves_no_process_and_no_descriptor(recorder: Recorder, marker: ProcessMarker) -> None:
    async with a_worker(recorder) as orchestrator:
        await orchestrator.submit(on_terminal("true")).wait()
        before = descriptors()
        task = orchestrator.submit(
            on_terminal(
                f"{marker.sleep} & setsid {marker.sleep} & setsid env -i {marker.sleep} & echo up; {marker.sleep}"
            )
        )
        await recorder.wrote(b"up\n", task.task_id)

        task.interrupt(grace=5)
        outcome = await task.wait()

        assert outcome.state is JobState.INTERRUPTED
        assert marker.alive() == []
        assert descriptors() == before


async def test_stray_without_session_and_cookie_is_identified_by_its_terminal(
    recorder: Recorder, marker: ProcessMarker
) -> None:
    async with a_worker(recorder) as orchestrator:
        others = [orchestrator.submit(on_terminal("echo up; exec sleep 300")) for _ in range(2)]
        for other in others:
            await recorder.wrote(b"up\n", other.task_id)

        await orchestrator.submit(on_terminal(f"setsid env -i {marker.sleep} & sleep 0.2")).wait()

        assert marker.alive() == []
        assert [other.outcome for other in others] == [None, None]
        for other in others:
            other.interrupt(grace=0)


async def test_machine_without_terminals_fails_the_job_with_a_reason(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_device() -> tuple[int, int]:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "openpty", no_device)
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(on_terminal("true")).wait()

    assert (outcome.state, outcome.cause, outcome.exit_code) == (JobState.FAILED, Cause.SPAWN_ERROR, 126)
    assert "pseudo-terminal" in (outcome.error or "")
