"""Finds processes that a test left running, even orphans: the test run adopts them."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

from tests.support.waiting import wait_until

_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> None:
    """Become the parent of every orphaned descendant, in place of PID 1."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> frozenset[int]:
    """Process ids of this process' children, including zombies."""
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(int(pid) for pid in listing.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has just ended
    return frozenset(found)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def assert_none_since(before: frozenset[int]) -> None:
    """Fail if a child runs that did not run before; reap the dead ones.

    A child that is about to end gets the usual time limit. A child that is left then is killed, so that it fails no
    other test.

    Raises:
        AssertionError: A child was left; the message shows process ids and commands.
    """
    try:
        wait_until(lambda: _running_since(before), until=lambda left: not left, what="the processes of the test to end")
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
            _reap(pid)
    return left


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "(gone)"
