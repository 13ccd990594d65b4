"""The CPU time, memory and children of a process, read from ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> tuple[float, float]:
    """Seconds of CPU time: of the process itself, and of its children whose exit it has collected."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, own_system, children, children_system = map(int, words[11:15])
    return (own + own_system) / _TICKS_PER_S, (children + children_system) / _TICKS_PER_S


def rss_bytes(pid: int, *, peak: bool = False) -> int:
    """Resident memory of a process in bytes: now, or at its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:" if peak else "VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def children_of(pid: int) -> list[int]:
    """The children of a process's main thread that have not been reaped; none if the process is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
