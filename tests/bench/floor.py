"""What Python, the kernel and Redis alone need for the same commands: the lower bound for any implementation in Python.

First without a queue: the bound for starting commands from Python and reading their output. Then with the worker's own
calls that claim and finish jobs, and nothing else of a worker: the bound for recording jobs as durably.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, median_of
from oneshot_queue.bench.fleet import TRUE
from oneshot_queue.bench.throughput import xargs_run
from oneshot_queue.store.leases import register
from tests.bench.fleet import a_fleet
from tests.bench.sizes import Sizes
from tests.support.limits import limit_s

ALONE: Final = ((1, 4), (2, 4))
"""Numbers of processes, and of commands that all of them together run at once."""
WITH_JOBS: Final = ((1, 4), (2, 4), (2, 32))
_PROGRAM: Final = Path(__file__).with_name("bare.py")
_PATIENCE_S: Final = limit_s(60.0)
_LEASE_S: Final = 600.0


def measure(sizes: Sizes) -> Iterator[Line]:
    """Measure all variants in turns, with xargs if it is installed."""
    program = shutil.which("xargs")
    xargs: list[float] = []
    rates: dict[str, list[float]] = {}
    for _ in range(sizes.rounds):
        if program is not None:
            xargs.append(xargs_run(program, sizes.commands).rate)
        for processes, slots in ALONE:
            rates.setdefault(_name(processes, slots), []).append(_alone(processes, slots, sizes.commands))
        for processes, slots in WITH_JOBS:
            name = f"{_name(processes, slots)}, claimed and finished in Redis"
            rates.setdefault(name, []).append(_with_jobs(processes, slots, sizes.commands))
    for name, found in rates.items():
        yield median_of(found, name, "commands/s")
        if xargs:
            ratios = [rate / own for rate, own in zip(found, xargs, strict=True)]
            yield median_of(ratios, name, "of xargs")


def _name(processes: int, slots: int) -> str:
    return f"{processes} bare Python process{'es' if processes > 1 else ''}, {slots} commands at once"


def _alone(processes: int, slots: int, commands: int) -> float:
    words = [str(slots // processes), str(commands // processes)]
    return commands // processes * processes / _span_s([words] * processes)


def _with_jobs(processes: int, slots: int, commands: int) -> float:
    with a_fleet() as fleet:
        jobs = fleet.enqueue([TRUE] * commands)
        leases = [f"bare.{number}" for number in range(processes)]
        for lease in leases:
            fleet.server.run(register(fleet.keys, lease, _LEASE_S))
        took_s = _span_s([[str(slots // processes), fleet.url, lease] for lease in leases])
        fleet.check(jobs)
        return commands / took_s


def _span_s(runs: Sequence[Sequence[str]]) -> float:
    with ExitStack() as ends:
        started = []
        for words in runs:
            argv = [sys.executable, "-P", str(_PROGRAM), *words]
            process = ends.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            ends.callback(process.kill)
            started.append(process)
        for each in started:
            assert each.stdout is not None, "it was started with a pipe"
            each.stdout.readline()  # it is ready, and waits
        began = time.perf_counter()
        for each in started:
            assert each.stdin is not None, "it was started with a pipe"
            each.stdin.close()
        statuses = [each.wait(_PATIENCE_S) for each in started]
        took_s = time.perf_counter() - began
    if any(statuses):
        raise MeasurementSpoilt(f"bare processes exited with {statuses}")
    return took_s
