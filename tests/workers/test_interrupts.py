"""An interrupted command leaves no process, whatever its processes did to escape."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import InterruptStarted
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from tests.support.cases import case
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.waiting import eventually
from tests.workers.recorder import Recorder, a_guest, a_worker, python, state_of

KINDS = [pytest.param(a_worker, id="worker"), pytest.param(a_guest, id="guest")]

ESCAPES = {
    "children": "{0} & setsid {0} & {0}",
    "a group of its own": "set -m; {0} & {0}",
    "nohup": "nohup {0} >/dev/null 2>&1 & {0}",
    "orphan": "({0} &); {0}",
    "double fork": "(setsid sh -c '({0} &)' &); {0}",
    "setsid without environment": "setsid env -i {0} & {0}",
    "setsid without environment or pipes": "setsid env -i {0} </dev/null >/dev/null 2>&1 & {0}",
    "a daemon without environment": "(setsid env -i {0} >/dev/null &); {0}",
    "a session in a session": "setsid sh -c 'setsid sh -c \"setsid {0} & {0}\" & {0}' & {0}",
}


@case("P1")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
async def test_interrupt_leaves_no_process(
    kind: Callable[[Recorder], AsyncOrchestrator], escape: str, recorder: Recorder, marker: ProcessMarker
) -> None:
    script = escape.format(marker.sleep)

    async with kind(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", script])
        await eventually(marker.alive, lambda alive: len(alive) == escape.count("{0}"), what="all sleepers")
        assert orchestrator.interrupt(task.task_id, reason="enough")
        outcome = await task.wait()
        assert marker.alive() == []

    assert (outcome.state, outcome.cause, outcome.signal) == (JobState.INTERRUPTED, Cause.INTERRUPTED, signal.SIGTERM)
    assert recorder.of(InterruptStarted) == [InterruptStarted(task.task_id, "interrupted", "enough")]
    assert recorder.kinds()[-1] == "TaskEnded"


@pytest.mark.parametrize("kind", KINDS)
async def test_command_that_ignores_sigterm_is_killed_after_its_grace(
    kind: Callable[[Recorder], AsyncOrchestrator], recorder: Recorder, marker: ProcessMarker
) -> None:
    script = f"trap '' TERM; {marker.sleep} & setsid {marker.sleep} & echo ready; {marker.sleep}"

    async with kind(recorder) as orchestrator:
        task = orchestrator.submit(JobSpec(["sh", "-c", script], grace=0.3))
        await recorder.wrote(b"ready")
        await eventually(marker.alive, lambda alive: len(alive) == 3)
        begun = time.monotonic()
        task.interrupt()
        outcome = await task.wait()
        assert marker.alive() == []

    assert 0.3 <= time.monotonic() - begun < limit_s(5)
    assert (outcome.state, outcome.signal) == (JobState.INTERRUPTED, signal.SIGKILL)


async def test_process_that_left_the_group_gets_the_same_grace(recorder: Recorder, tmp_path: Path) -> None:
    witness = tmp_path / "cleaned"
    cleaner = f"trap 'sleep 0.3; echo done > {witness}; exit' TERM; echo ready; while :; do sleep 0.05; done"

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", 'setsid sh -c "$1" & sleep 300', "sh", cleaner])
        await recorder.wrote(b"ready")
        task.interrupt()
        await task.wait()

    assert witness.read_text() == "done\n"


async def test_stopped_command_ends_within_its_grace(recorder: Recorder, marker: ProcessMarker) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", f"{marker.sleep} & setsid {marker.sleep} & {marker.sleep}"])
        pid = (await recorder.started()).pid
        stopped = await eventually(marker.alive, lambda alive: len(alive) == 3)
        for each in (pid, *stopped):
            os.kill(each, signal.SIGSTOP)
        await eventually(lambda: {state_of(each) for each in (pid, *stopped)}, lambda states: states == {"T"})
        begun = time.monotonic()
        task.interrupt()
        outcome = await task.wait()
        assert marker.alive() == []

    assert outcome.signal == signal.SIGTERM
    assert time.monotonic() - begun < limit_s(5)


async def test_grace_zero_kills_at_once(recorder: Recorder, marker: ProcessMarker) -> None:
    script = f"trap 'echo asked' TERM; {marker.sleep} & setsid {marker.sleep} & echo ready; {marker.sleep}"

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", script])
        await recorder.wrote(b"ready")
        await eventually(marker.alive, lambda alive: len(alive) == 3)
        task.interrupt(grace=0)
        outcome = await task.wait()
        assert marker.alive() == []

    assert outcome.signal == signal.SIGKILL


async def test_second_interrupt_with_a_shorter_grace_ends_the_command_sooner(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done"])
        await recorder.wrote(b"ready")
        task.interrupt(grace=300)
        await recorder.wrote(b"asked")
        assert task.interrupt(grace=0)
        outcome = await task.wait()

    assert outcome.signal == signal.SIGKILL
    assert len(recorder.of(InterruptStarted)) == 1


async def test_second_interrupt_with_a_longer_grace_changes_nothing(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
        await recorder.wrote(b"ready")
        begun = time.monotonic()
        task.interrupt(grace=0.2)
        task.interrupt(grace=300)
        await task.wait()

    assert time.monotonic() - begun < 10


async def test_second_interrupt_hastens_the_sweep_of_strays(recorder: Recorder, marker: ProcessMarker) -> None:
    script = f"(trap '' TERM; {marker.sleep}) & echo ready; exec sleep 300"

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", script])
        await recorder.wrote(b"ready")
        await eventually(marker.alive)
        pid = (await recorder.started()).pid
        task.interrupt(grace=300)
        await eventually(lambda: state_of(pid), lambda state: state == "Z")
        assert task.outcome is None
        task.interrupt(grace=0)
        await task.wait()
        assert marker.alive() == []


@case("P5")
async def test_fork_bomb_in_the_group_leaves_no_process(recorder: Recorder) -> None:
    bomb = python(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "n = 0\n"
        "while n < 200:\n"
        "    if os.fork() == 0:\n"
        "        while True:\n"
        "            time.sleep(300)\n"
        "    n += 1\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    time.sleep(300)\n"
    )

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(JobSpec(bomb, grace=0.2))
        await recorder.wrote(b"ready")
        group = (await recorder.started()).pid
        task.interrupt()
        outcome = await task.wait()
        assert _members_of_group(group) == []

    assert outcome.state is JobState.INTERRUPTED


@case("P5")
async def test_command_that_keeps_forking_leaves_no_process(recorder: Recorder, marker: ProcessMarker) -> None:
    # Each generation leaves session and parents. Only the environment identifies it.
    generation = f'{marker.sleep} >/dev/null & sleep 0.02; setsid sh -c "$NEXT" & exit'

    async with a_worker(recorder) as orchestrator:
        spec = JobSpec(["sh", "-c", 'sh -c "$NEXT"; sleep 300'], env={"NEXT": generation}, grace=0.2)
        task = orchestrator.submit(spec)
        await eventually(marker.alive, lambda alive: len(alive) >= 3)
        task.interrupt()
        await task.wait()
        assert marker.alive() == []


def _members_of_group(group: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == group and state_of(int(name)) not in ("Z", ""):
                    found.append(int(name))
            except ProcessLookupError:
                continue
    return found
