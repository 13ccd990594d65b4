"""Processes that a test knows again, wherever they end up."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


class ProcessMarker:
    """Processes of one test, known by an argument of ``sleep`` that nobody else uses.

    Attributes:
        sleep: A shell's words for sleeping longer than any test.
    """

    def __init__(self) -> None:
        self._mark = f"300.{uuid.uuid4().int % 10**15:015d}"
        self.sleep = f"sleep {self._mark}"

    def alive(self) -> list[int]:
        """The process ids of those that live."""
        return [pid for pid in pids() if self._is_marked(pid)]

    def _is_marked(self, pid: int) -> bool:
        return words_of(pid, "cmdline")[:2] == [b"sleep", self._mark.encode()]


def pids() -> list[int]:
    """The process ids of all processes there are, the dead that nobody has reaped among them."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def words_of(pid: int, name: str) -> list[bytes]:
    """The words of a process' ``cmdline`` or ``environ``; none if it has no live thread, or is another user's.

    Each thread is asked: what the kernel shows of a leader that has exited is empty, although others of its threads may
    still run. A process in state Z is not dead for that.
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
