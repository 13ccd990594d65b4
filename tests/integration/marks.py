"""Processes that a test knows again wherever they end up, and a command that does not want to end."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from tests.integration.deployment import Deployment


class Mark:
    """Processes of one test, known by an argument of ``sleep`` that nobody else uses."""

    def __init__(self) -> None:
        self._seconds = f"300.{uuid.uuid4().int % 10**15:015d}"
        self.sleep = f"sleep {self._seconds}"

    def alive(self) -> list[int]:
        """Process ids of those that live."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_marked(pid)]

    def _is_marked(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return words[:2] == [b"sleep", self._seconds.encode()]


def stubborn(deployment: Deployment, mark: Mark) -> str:
    """A script that testifies to each SIGTERM, says when it is ready to, and does not end."""
    asked = deployment.witness.says("asked")
    return f"asked() {{ {asked}; }}; trap asked TERM; echo ready; while :; do {mark.sleep}; done"
