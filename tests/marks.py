"""Processes that a test knows again, wherever they end up."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


class Mark:
    """Processes of one test, known by an argument of ``sleep`` that nobody else uses.

    Attributes:
        sleep: A shell's words for sleeping longer than any test.
    """

    def __init__(self) -> None:
        self._mark = f"300.{uuid.uuid4().int % 10**15:015d}"
        self.sleep = f"sleep {self._mark}"

    def alive(self) -> list[int]:
        """The process ids of those that live."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_marked(pid)]

    def _is_marked(self, pid: int) -> bool:
        try:
            # The command line of a zombie is empty.
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return words[:2] == [b"sleep", self._mark.encode()]
