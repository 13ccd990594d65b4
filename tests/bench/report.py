"""The line about the machine, the tables, and the summary line."""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from oneshot_queue.bench.chart import table
from oneshot_queue.bench.figures import Line
from tests.support.servers import kinds_for


def machine() -> dict[str, object]:
    """The machine and its server, and its load now."""
    (kind,) = kinds_for(crossed=False)
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "load": [round(each, 2) for each in os.getloadavg()],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "server": f"{kind.name} ({kind.version})",
    }


def print_machine() -> None:
    """Print the line above the tables."""
    found = machine()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(
        f"{found['cpus']} CPUs · load {load} · Python {found['python']} · Linux {found['kernel']} · {found['server']}, "
        f"AOF everysec, unix socket"
    )


def print_lines(family: str, lines: Sequence[Line]) -> None:
    """Print the table of one family."""
    print(f"\n{family}")
    for row in table(lines):
        print(row, flush=True)


def print_summary(lines: Sequence[Line]) -> None:
    """Print how many targets were met."""
    with_target = [line for line in lines if line.target is not None]
    met = sum(bool(line.is_met) for line in with_target)
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"\n{met} of {len(with_target)} targets met · load now {load}")
