"""Finds the processes of a test again, even after they left its process tree."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


class ProcessMarker:
    """Marks the processes of one test by a unique argument of ``sleep``.

    Attributes:
        sleep: A shell command that sleeps longer than any test runs.
    """

    def __init__(self) -> None:
        self._argument = f"300.{uuid.uuid4().int % 10**15:015d}"
        self.sleep = f"sleep {self._argument}"

    def alive(self) -> list[int]:
        """The process ids of the marked processes that are alive."""
        return [pid for pid in pids() if self._is_marked(pid)]

    def _is_marked(self, pid: int) -> bool:
        return words_of(pid, "cmdline")[:2] == [b"sleep", self._argument.encode()]


def pids() -> list[int]:
    """The process ids of all processes, including zombies."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def words_of(pid: int, name: str) -> list[bytes]:
    """The words of a process' ``cmdline`` or ``environ``; empty if it has no live thread, or belongs to another user.

    Reads from every thread: for a leader that has exited the kernel shows nothing, although other threads may still
    run. So a process in state Z is not necessarily dead.
    """
    folder = Path(f"/proc/{pid}/task")
    try:
        threads = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    for thread in threads:
        try:
            if shown := (folder / thread / name).read_bytes():
                return shown.split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return []
