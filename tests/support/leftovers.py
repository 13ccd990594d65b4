"""What a test left running: seen even if it was orphaned, because the test run adopts orphans."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

from tests.support.waiting import wait_until

_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> None:
    """Become the parent of every orphan among the descendants, instead of PID 1, where nobody would look."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> frozenset[int]:
    """Pids of this process' children, dead ones included until somebody waits for them."""
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(int(pid) for pid in listing.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # A thread ended while we looked.
    return frozenset(found)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which runs no more, does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def assert_none_since(before: frozenset[int]) -> None:
    """Fail if a child runs that did not run before; bury the dead ones.

    What is on its way out gets the usual limit to go. What is left then is killed, so that only the test that left it
    fails.

    Raises:
        AssertionError: Something was left; the message shows pids and commands.
    """
    try:
        wait_until(lambda: _running_since(before), until=lambda left: not left, what="what the test started to end")
    except AssertionError as failure:
        left = {pid: _command(pid) for pid in _running_since(before)}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise AssertionError(f"left running: {left}") from failure


def _running_since(before: frozenset[int]) -> list[int]:
    left = []
    for pid in children() - before:
        if is_alive(pid):
            left.append(pid)
        else:
            _bury(pid)
    return left


def _bury(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "(gone)"
