"""Where it was measured, and the verdict."""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from oneshot_queue.bench.chart import table
from oneshot_queue.bench.figures import Line
from tests.support.servers import kinds_for


def machine() -> dict[str, object]:
    """Where it was measured, and how busy that is now."""
    (kind,) = kinds_for(crossed=False)
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "load": [round(each, 2) for each in os.getloadavg()],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "server": f"{kind.name} ({kind.version})",
    }


def print_machine() -> None:
    """The line above the table."""
    found = machine()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(
        f"{found['cpus']} CPUs · load {load} · Python {found['python']} · Linux {found['kernel']} · {found['server']}, "
        f"AOF everysec, unix socket"
    )


def print_lines(family: str, lines: Sequence[Line]) -> None:
    """One measurement's part of the table."""
    print(f"\n{family}")
    for row in table(lines):
        print(row, flush=True)


def print_verdict(lines: Sequence[Line]) -> None:
    """The last line."""
    marked = [line for line in lines if line.target is not None]
    kept = sum(bool(line.is_kept) for line in marked)
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"\n{kept} of {len(marked)} targets met · load now {load}")
