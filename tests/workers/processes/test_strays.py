"""Strays are attributed to the command that started them, and to no other."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oneshot_queue.states import JobState
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.processes import sweep as sweep_module
from oneshot_queue.workers.processes.procfs import ticks_now
from tests.support import half_dead
from tests.support.faults import without_descriptors
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker, words_of
from tests.support.waiting import eventually
from tests.workers.recorder import Recorder, a_guest, a_worker, state_of

KINDS = [pytest.param(a_worker, id="worker"), pytest.param(a_guest, id="guest")]
UNMARKED = "setsid env -i {0} </dev/null >/dev/null 2>&1 &"
"""A process without any sign of its attempt: other session, empty environment, no pipe."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "script",
    ["{0} &", "nohup {0} >/dev/null 2>&1 &", "setsid {0} &", "(setsid sh -c '({0} &)' &)", "setsid env -i {0} &"],
)
async def test_stray_is_ended_before_the_outcome(
    kind: Callable[[Recorder], AsyncOrchestrator], script: str, recorder: Recorder, marker: ProcessMarker
) -> None:
    async with kind(recorder) as orchestrator:
        outcome = await orchestrator.submit(["sh", "-c", f"{script.format(marker.sleep)}\nsleep 0.05; exit 3"]).wait()
        assert marker.alive() == []

    assert (outcome.state, outcome.exit_code) == (JobState.FAILED, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", ["setsid {0} &", "(setsid sh -c '({0} &)' </dev/null >/dev/null 2>&1 &)"])
async def test_process_without_a_main_thread_is_ended_like_any_other(
    kind: Callable[[Recorder], AsyncOrchestrator], script: str, recorder: Recorder, tmp_path: Path
) -> None:
    said = tmp_path / "pid"
    other = script.format(f"{half_dead.PROGRAM} {said}")
    async with kind(recorder) as orchestrator:
        beside = orchestrator.submit(["sleep", "300"])
        await recorder.started(beside.task_id)
        outcome = await orchestrator.submit(["sh", "-c", f"{other}\nwhile [ ! -e {said} ]; do sleep 0.01; done"]).wait()
        pid = int(said.read_text())
        assert words_of(pid, "cmdline") == []
        beside.interrupt()

    assert outcome.state is JobState.COMPLETED


async def test_stray_gets_sigterm_and_half_a_second_later_sigkill(recorder: Recorder) -> None:
    stubborn = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done"

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", '(eval "$0") & sleep 0.1; exit 0', stubborn])
        await recorder.wrote(b"asked")
        begun = time.monotonic()
        outcome = await task.wait()

    assert 0.3 < time.monotonic() - begun < limit_s(5)
    assert outcome.state is JobState.COMPLETED


async def test_unmarked_stray_older_than_every_other_task_is_ended_with_its_own(
    recorder: Recorder, marker: ProcessMarker
) -> None:
    async with a_worker(recorder) as orchestrator:
        first = orchestrator.submit(["sh", "-c", f"{UNMARKED.format(marker.sleep)} exec sleep 300"])
        await eventually(marker.alive)
        # The kernel counts start times in ticks of 10 ms. The next task must start in a later tick.
        made = ticks_now()
        await eventually(lambda: ticks_now() > made)
        second = orchestrator.submit(["sleep", "300"])
        await recorder.started(second.task_id)
        first.interrupt()
        await first.wait()
        assert marker.alive() == []
        assert second.outcome is None
        second.interrupt()


async def test_unmarked_strays_of_tasks_that_end_together_are_all_ended(
    recorder: Recorder, marker: ProcessMarker, tmp_path: Path
) -> None:
    # Each holds its task's output by a descriptor that is not inspected, so both tasks drain at the same time.
    stray = f"setsid env -i {marker.sleep} 5>&1 </dev/null >/dev/null 2>&1 &"
    script = f"echo up; while [ ! -e {tmp_path}/gate ]; do sleep 0.01; done; {stray} sleep 0.1"
    async with a_worker(recorder) as orchestrator:
        tasks = [orchestrator.submit(["sh", "-c", script]) for _ in range(2)]
        for task in tasks:
            await recorder.wrote(b"up\n", task.task_id)
        (tmp_path / "gate").touch()

        for task in tasks:
            await task.wait()

        await eventually(marker.alive, lambda alive: not alive, what="the strays to be ended")


@pytest.fixture
def spawn_stray(marker: ProcessMarker) -> Callable[[], subprocess.Popen[bytes]]:
    return lambda: subprocess.Popen(marker.sleep.split())


async def test_stray_that_belongs_to_no_task_is_ended_by_the_next_heartbeat(
    recorder: Recorder, spawn_stray: Callable[[], subprocess.Popen[bytes]]
) -> None:
    async with a_worker(recorder, heartbeat_s=300) as orchestrator:
        stray = spawn_stray()
        made = ticks_now()
        await eventually(lambda: ticks_now() > made)
        later = orchestrator.submit(["sleep", "300"])
        await recorder.started(later.task_id)

        await orchestrator._heartbeat.run_once()

        assert stray.wait(timeout=limit_s(20)) == -signal.SIGKILL
        assert later.outcome is None
        later.interrupt(grace=0)


async def test_unmarked_stray_that_could_be_of_several_tasks_is_ended_with_the_last(
    recorder: Recorder, marker: ProcessMarker
) -> None:
    async with a_worker(recorder) as orchestrator:
        other = orchestrator.submit(["sleep", "300"])
        await recorder.started(other.task_id)
        first = orchestrator.submit(["sh", "-c", f"({UNMARKED.format(marker.sleep)}) ; sleep 0.05"])
        await first.wait()
        assert other.outcome is None, "the other task must not be disturbed"
        other.interrupt()
        await other.wait()
        assert marker.alive() == []


async def test_marked_stray_of_another_running_task_is_left_alone(recorder: Recorder, marker: ProcessMarker) -> None:
    async with a_worker(recorder) as orchestrator:
        keeper = orchestrator.submit(["sh", "-c", f"(setsid {marker.sleep} &); exec sleep 300"])
        await eventually(marker.alive)
        for _ in range(5):
            await orchestrator.submit(["sh", "-c", "setsid sleep 300 & exit 0"]).wait()
        assert len(marker.alive()) == 1
        keeper.interrupt()
        await keeper.wait()
        assert marker.alive() == []


@pytest.fixture
def own_child(marker: ProcessMarker) -> Iterator[subprocess.Popen[bytes]]:
    """A child of the application that the orchestrator runs in."""
    with subprocess.Popen(marker.sleep.split(), start_new_session=True) as child:
        yield child
        child.kill()


async def test_guest_leaves_children_of_the_application_alone(
    recorder: Recorder, marker: ProcessMarker, own_child: subprocess.Popen[bytes]
) -> None:
    async with a_guest(recorder) as orchestrator:
        with subprocess.Popen(marker.sleep.split(), start_new_session=True) as later:  # noqa: ASYNC220 - as an application may do
            await orchestrator.submit(["sh", "-c", "setsid sleep 300 & (sleep 300 &)"]).wait()
            task = orchestrator.submit(["sleep", "300"])
            await recorder.started(task.task_id)
            task.interrupt(grace=0)
            await task.wait()
            await orchestrator._heartbeat.run_once()
            assert sorted(marker.alive()) == sorted([own_child.pid, later.pid])
            later.kill()
            assert later.wait() == -signal.SIGKILL, "the application must get its exit status"


async def test_worker_spares_the_children_it_had_before(
    recorder: Recorder, marker: ProcessMarker, own_child: subprocess.Popen[bytes]
) -> None:
    async with a_worker(recorder) as orchestrator:
        await orchestrator.submit(["sh", "-c", "setsid sleep 300 &"]).wait()
        await orchestrator._heartbeat.run_once()
        assert marker.alive() == [own_child.pid]


async def test_dead_orphans_of_a_running_task_are_reaped_by_the_heartbeat(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(
            ["sh", "-c", "setsid sh -c 'sleep 0.05 & echo $!' & wait; echo ready; exec sleep 300"]
        )
        await recorder.wrote(b"ready")
        orphan = int(recorder.output().split()[0])
        await eventually(lambda: state_of(orphan), lambda state: state in ("Z", ""))
        await orchestrator._heartbeat.run_once()
        assert state_of(orphan) == ""
        task.interrupt()


@pytest.mark.parametrize("before", [0, 1])
async def test_process_is_a_subreaper_only_inside_the_block(before: int, recorder: Recorder) -> None:
    libc = ctypes.CDLL(None)
    found = _is_subreaper(libc)
    libc.prctl(36, before, 0, 0, 0)
    try:
        async with a_guest(recorder), a_guest(recorder):
            assert _is_subreaper(libc) == 1
        assert _is_subreaper(libc) == before
    finally:
        libc.prctl(36, found, 0, 0, 0)


async def test_survivor_of_sigkill_is_named_and_keeps_its_slot(
    recorder: Recorder, marker: ProcessMarker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_worker(recorder, max_concurrent=1, survive_s=0.1) as orchestrator:
        task = orchestrator.submit(["sh", "-c", f"(trap '' TERM; {marker.sleep}) & echo ready; exit 0"])
        monkeypatch.setattr(sweep_module, "end_processes", lambda *_, **__: None)
        outcome = await task.wait()
        assert outcome.state is JobState.COMPLETED
        assert outcome.survivors == tuple(sorted(_living_members(recorder)))
        assert outcome.error is not None
        assert orchestrator.free_slots == 0
        assert orchestrator.tasks == {}
        monkeypatch.undo()
        await orchestrator.wait_for_slot()
        assert marker.alive() == []


async def test_strays_that_cannot_be_inspected_harm_no_task_and_are_logged_once(
    recorder: Recorder, marker: ProcessMarker, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_worker(recorder) as orchestrator:
        # Each stray may belong to either task.
        tasks = [
            orchestrator.submit(["sh", "-c", f"({UNMARKED.format(marker.sleep)}); exec sleep 300"]) for _ in range(2)
        ]
        await eventually(marker.alive, lambda alive: len(alive) == 2, what="the strays")
        with without_descriptors(os.getpid()):
            with pytest.raises(OSError, match="Too many open files"):
                os.open("/dev/null", os.O_RDONLY)
            for _ in range(3):
                await orchestrator._heartbeat.run_once()

        assert [record.message for record in caplog.records] == [
            "cannot inspect stray processes; will retry: Too many open files"
        ]
        assert [task.outcome for task in tasks] == [None, None]
        for task in tasks:
            task.interrupt()


def _living_members(recorder: Recorder) -> list[int]:
    leader = recorder.events[0].pid  # type: ignore[union-attr]
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and state_of(int(name)) not in ("", "Z") and os.getsid(int(name)) == leader
    ]


def _is_subreaper(libc: ctypes.CDLL) -> int:
    flag = ctypes.c_int()
    libc.prctl(37, ctypes.byref(flag), 0, 0, 0)
    return flag.value
