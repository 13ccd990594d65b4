"""``run_commands`` blocks, returns one outcome per command, and changes nothing else in the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from oneshot_queue.errors import InvalidJob, InvalidSetting, LoopAlreadyRunning
from oneshot_queue.outcomes import Captured, Cause
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import Event, TaskEnded, TaskStarted
from oneshot_queue.workers.orchestrator import run_commands
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until


def test_outcomes_are_in_the_order_of_the_commands() -> None:
    outcomes = run_commands([["sh", "-c", f"sleep 0.{5 - n}; echo {n}"] for n in range(5)], max_concurrent=5)

    assert [outcome.output for outcome in outcomes] == [Captured(b"%d\n" % n) for n in range(5)]


def test_failure_does_not_stop_other_commands() -> None:
    outcomes = run_commands([["no-such-program"], ["false"], ["sh", "-c", "kill -9 $$"], ["echo", "hi"]])

    assert [outcome.cause for outcome in outcomes] == [Cause.SPAWN_ERROR, Cause.EXIT, Cause.SIGNAL, Cause.EXIT]
    assert outcomes[-1].output == Captured(b"hi\n")


def test_commands_run_concurrently_up_to_the_limit(tmp_path: Path) -> None:
    # Each command waits for three others: with fewer at a time, none would end.
    together = f"cd {tmp_path}; touch $$; until [ $(ls | wc -l) -ge 4 ]; do sleep 0.01; done"
    running = most = 0

    def count(event: Event) -> None:
        nonlocal running, most
        running += isinstance(event, TaskStarted) - isinstance(event, TaskEnded)
        most = max(most, running)

    outcomes = run_commands([["sh", "-c", together]] * 8, max_concurrent=4, on_event=count)

    assert {outcome.exit_code for outcome in outcomes} == {0}
    assert most == 4


def test_empty_list_of_commands_has_no_outcomes() -> None:
    assert run_commands([]) == []


def test_limits_of_the_call_apply_to_argvs_but_not_to_specs(marker: ProcessMarker) -> None:
    outcomes = run_commands([marker.sleep.split(), JobSpec(["sh", "-c", "sleep 0.6; echo own"])], time_limit=0.2)

    assert [outcome.cause for outcome in outcomes] == [Cause.TIME_LIMIT, Cause.EXIT]


def test_environment_of_the_caller_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "seen")

    (outcome,) = run_commands([["sh", "-c", "echo $OF_THE_CALLER"]])

    assert outcome.output == Captured(b"seen\n")


def test_events_are_passed_to_the_observer() -> None:
    events: list[Event] = []

    run_commands([["true"], ["true"]], on_event=events.append)

    assert sum(isinstance(event, TaskStarted) for event in events) == 2
    assert sum(isinstance(event, TaskEnded) for event in events) == 2


def test_invalid_argument_is_refused_before_any_command_starts(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob):
        run_commands([["touch", str(tmp_path / "started")], []])
    with pytest.raises(InvalidJob, match="not one string"):
        run_commands(["true"])
    with pytest.raises(InvalidSetting):
        run_commands([["touch", str(tmp_path / "started")]], max_concurrent=0)

    assert list(tmp_path.iterdir()) == []


async def test_call_inside_a_running_loop_is_refused_with_advice() -> None:
    with pytest.raises(LoopAlreadyRunning, match="AsyncOrchestrator"):
        run_commands([["true"]])


def test_error_of_the_observer_kills_all_commands_and_is_raised(marker: ProcessMarker) -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, TaskStarted):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_commands([marker.sleep.split()] * 5, max_concurrent=2, on_event=on_event)

    assert marker.alive() == []


def test_calls_in_several_threads_do_not_disturb_each_other(marker: ProcessMarker) -> None:
    results: list[bytes] = []

    def work(name: str) -> None:
        for outcome in run_commands([["sh", "-c", f"setsid {marker.sleep} & echo {name}"]] * 10):
            assert outcome.state is JobState.COMPLETED
            assert outcome.output is not None
            results.append(outcome.output.stdout.strip())

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [b"a"] * 10 + [b"b"] * 10 + [b"c"] * 10
    assert marker.alive() == []


def test_other_children_of_the_caller_are_left_alone(marker: ProcessMarker) -> None:
    with subprocess.Popen(marker.sleep.split()) as own:
        outcomes = run_commands([["sh", "-c", "setsid sleep 300 & exit 2"]] * 3)
        assert marker.alive() == [own.pid]
        own.kill()
        assert own.wait() == -signal.SIGKILL

    assert [outcome.exit_code for outcome in outcomes] == [2, 2, 2]


def test_sigint_handler_of_the_caller_is_kept() -> None:
    def handler(*_: object) -> None:
        seen.append(1)

    seen: list[int] = []
    before = signal.signal(signal.SIGINT, handler)
    try:
        run_commands([["sh", "-c", f"kill -INT {os.getpid()}; sleep 0.1"]])
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)

    assert seen == [1]


def test_exit_codes_are_correct_though_the_caller_ignores_sigchld() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        outcomes = run_commands([["sh", "-c", "true; exit 3"]] * 5)
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert [outcome.exit_code for outcome in outcomes] == [3] * 5


CALLER = """
import sys
from oneshot_queue import run_commands
try:
    run_commands([["sh", "-c", sys.argv[1]]] * 6, max_concurrent=2)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(7)
"""


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_every_command_and_is_then_raised(presses: int, marker: ProcessMarker, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    # The second Ctrl-C is for commands that ignore SIGTERM.
    trap = f"trap 'echo >> {asked}' TERM;" if presses == 2 else ""
    script = f"{trap} setsid {marker.sleep} & while :; do {marker.sleep}; done"

    with subprocess.Popen([sys.executable, "-c", CALLER, script], stdout=subprocess.PIPE) as caller:
        wait_until(marker.alive, lambda alive: len(alive) == 4)
        begun = time.monotonic()
        caller.send_signal(signal.SIGINT)
        if presses == 2:
            wait_until(lambda: asked.exists() and asked.read_bytes() == b"\n\n")
            caller.send_signal(signal.SIGINT)
        output, _ = caller.communicate(timeout=limit_s(30))

    assert (caller.returncode, output) == (7, b"interrupted\n")
    assert marker.alive() == []
    assert time.monotonic() - begun < 8, "it must end before the grace period of 10 s"
