"""A worker crashes only at the point that a test names."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oneshot_queue.workers.engine.crash_points import POINTS, crash_plan
from tests.support.limits import limit_s
from tests.support.repository import ROOT

PROGRAM = (
    "from oneshot_queue.workers.engine.crash_points import crash_at\n"
    "for _ in range(3): print('passing', flush=True); crash_at('{}')"
)


def run(point: str, **variables: str) -> tuple[int, int]:
    """Run the program. Return its exit code, and how often it passed the point."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(point)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=limit_s(60),
        check=False,
    )
    return done.returncode, done.stdout.count("passing")


def test_process_dies_at_the_given_pass_of_its_point() -> None:
    assert run("in_renew", ONESHOT_CRASH_AT="in_renew", ONESHOT_TEST_FAULTS="1") == (-signal.SIGKILL, 1)
    assert run("in_renew", ONESHOT_CRASH_AT="in_renew:3", ONESHOT_TEST_FAULTS="1") == (-signal.SIGKILL, 3)
    assert run("in_renew", ONESHOT_CRASH_AT="in_renew:4", ONESHOT_TEST_FAULTS="1") == (0, 3)
    assert run("in_renew", ONESHOT_CRASH_AT="after_exit", ONESHOT_TEST_FAULTS="1") == (0, 3)


def test_no_process_dies_without_the_test_flag() -> None:
    assert run("in_renew", ONESHOT_CRASH_AT="in_renew") == (0, 3)
    assert run("in_renew", ONESHOT_CRASH_AT="in_renew", ONESHOT_TEST_FAULTS="0") == (0, 3)


def test_first_process_creates_the_mark_and_dies_and_later_ones_live(tmp_path: Path) -> None:
    plan = {"ONESHOT_CRASH_AT": "in_renew", "ONESHOT_TEST_FAULTS": "1", "ONESHOT_CRASH_MARK": str(tmp_path / "mark")}

    assert run("in_renew", **plan) == (-signal.SIGKILL, 1)
    assert (tmp_path / "mark").exists()
    assert run("in_renew", **plan) == (0, 3)


def test_unknown_point_is_refused_in_tests_and_ignored_otherwise() -> None:
    with pytest.raises(ValueError, match="nowhere: unknown crash point"):
        crash_plan({"ONESHOT_CRASH_AT": "nowhere", "ONESHOT_TEST_FAULTS": "1"})
    assert crash_plan({"ONESHOT_CRASH_AT": "nowhere"}) is None


def test_every_declared_point_is_used_once() -> None:
    called = [
        call.args[0].value
        for path in (ROOT / "workers").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "crash_at"
        if isinstance(call.args[0], ast.Constant)
    ]

    assert sorted(map(str, called)) == sorted(POINTS)
