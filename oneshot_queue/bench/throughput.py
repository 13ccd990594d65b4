"""How many commands per second run, next to ``xargs``.

The clock runs from the start of ``enqueue_many`` until the last result is in Redis, with idle, warm workers: the time
that a user waits for a list of commands, as with ``xargs``. "Drain" measures the workers alone: they are suspended
until all jobs are stored, and the clock starts when they continue.

On a busy machine, CPU time says more than the clock: it is the cost of a command, whatever else uses the cores.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target, median_of
from oneshot_queue.bench.fleet import TRUE, FleetFactory
from oneshot_queue.bench.sizes import Sizes

XARGS_SLOTS: Final = 4
UNIT: Final = "commands/s"


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """A worker to measure.

    Attributes:
        processes: Its worker processes.
        slots: Commands that all of them together run at once.
        target: The target for its rate, relative to ``xargs`` with four commands at once.
        far_target: The target for its rate with added latency, relative to its rate without. A slot waits for a round
            trip between two jobs; only many slots can hide that.
    """

    processes: int
    slots: int
    target: Target | None = None
    far_target: Target | None = None

    @property
    def name(self) -> str:
        """Its name in the table."""
        return f"{self.processes} worker process{'es' if self.processes > 1 else ''} (-c {self.slots})"


SETUPS: Final = (
    WorkerSetup(1, 4, Target.at_least(0.7)),
    WorkerSetup(2, 4, Target.at_least(1.0)),
    WorkerSetup(2, 32, Target.at_least(1.0), far_target=Target.at_least(0.8)),
)
FAR_TARGETS: Final = {f"{setup.name}, enqueue to last result": setup.far_target for setup in SETUPS}
"""The lines that are compared with added latency, by name."""


@dataclass(frozen=True, slots=True)
class Run:
    """The values of one round; for xargs, only ``rate`` and ``all_us`` are measured.

    Attributes:
        rate: Commands per second, from the start of ``enqueue_many`` to the last result.
        all_us: CPU time per command in µs, of the workers, Redis and the command together.
        drain_rate: Commands per second from a full queue.
        worker_us: CPU time per command in µs, of the worker processes themselves.
        server_us: CPU time per command in µs, of Redis.
    """

    rate: float
    all_us: float
    drain_rate: float = 0.0
    worker_us: float = 0.0
    server_us: float = 0.0


def measure(new_fleet: FleetFactory, sizes: Sizes) -> Iterator[Line]:
    """Measure xargs, if it is installed, and all workers in turns."""
    program = shutil.which("xargs")
    xargs: list[Run] = []
    setups: dict[WorkerSetup, list[Run]] = {setup: [] for setup in SETUPS}
    for _ in range(sizes.rounds):
        if program is not None:
            xargs.append(xargs_run(program, sizes.commands))
        for setup, runs in setups.items():
            runs.append(_run(new_fleet, setup, sizes))
    if xargs:
        yield median_of([run.rate for run in xargs], f"xargs -P{XARGS_SLOTS} -n1 /bin/true", UNIT)
        yield median_of([run.all_us for run in xargs], "CPU of xargs and its commands", "µs/command")
    for setup, runs in setups.items():
        yield median_of([run.rate for run in runs], f"{setup.name}, enqueue to last result", UNIT)
        yield median_of([run.drain_rate for run in runs], f"{setup.name}, drain of a full queue", UNIT)
        yield median_of([run.worker_us for run in runs], f"{setup.name}, CPU of the workers", "µs/command")
        yield median_of([run.server_us for run in runs], f"{setup.name}, CPU of Redis", "µs/command")
        if xargs:
            yield from _next_to_xargs(setup, runs, xargs)


def _next_to_xargs(setup: WorkerSetup, runs: Sequence[Run], xargs: Sequence[Run]) -> Iterator[Line]:
    turns = list(zip(runs, xargs, strict=True))
    rates = [run.rate / own.rate for run, own in turns]
    yield median_of(rates, f"{setup.name}, enqueue to last result", "of xargs", setup.target)
    rates = [run.drain_rate / own.drain_rate for run, own in turns]
    yield median_of(rates, f"{setup.name}, drain of a full queue", "of xargs")
    costs = [run.all_us / own.all_us for run, own in turns]
    yield median_of(costs, f"{setup.name}, CPU of workers, Redis and commands", "of xargs")


def xargs_run(program: str, commands: int) -> Run:
    """Run this many commands with xargs, four at once.

    Raises:
        MeasurementSpoilt: A command failed.
    """
    words = "\n".join(map(str, range(commands)))
    before_s, began = _children_s(), time.perf_counter()
    done = subprocess.run([program, f"-P{XARGS_SLOTS}", "-n1", *TRUE], input=words.encode(), check=False)
    took_s = time.perf_counter() - began
    if done.returncode != 0:
        raise MeasurementSpoilt(f"xargs exited with {done.returncode}: not every command succeeded")
    rate = commands / took_s
    return Run(rate, (_children_s() - before_s) / commands * 1e6, drain_rate=rate)


def _run(new_fleet: FleetFactory, setup: WorkerSetup, sizes: Sizes) -> Run:
    with new_fleet() as fleet:
        fleet.start_worker(setup.processes, concurrency=setup.slots, warm_up=sizes.warm_up)
        before = fleet.cpu()
        commands = [TRUE] * sizes.commands

        began = time.perf_counter()
        jobs = fleet.enqueue(commands)
        took_s = fleet.wait_until_drained() - began

        with fleet.frozen_workers():
            jobs += fleet.enqueue(commands)
            began = time.perf_counter()
        drain_s = fleet.wait_until_drained() - began

        used = fleet.cpu().since(before)
        fleet.check(jobs)
        return Run(
            rate=sizes.commands / took_s,
            drain_rate=sizes.commands / drain_s,
            worker_us=used.workers / len(jobs) * 1e6,
            server_us=used.server / len(jobs) * 1e6,
            all_us=(used.workers + used.commands + used.server) / len(jobs) * 1e6,
        )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
