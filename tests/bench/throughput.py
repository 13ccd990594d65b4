"""Commands a second, next to ``xargs``.

The clock of a queue runs from the beginning of ``enqueue_many`` to the moment when the last job is final in Redis, with
idle, warm workers: what somebody waits who has a list of commands, as with ``xargs``. "Drain" is the other end of the
scale: the workers are held still until all jobs are stored, and the clock starts when they are let go.

CPU time tells more than the clock where other programs run: it is what a command costs, whoever else wants the cores.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.fleet import TRUE, Fleet, MeasurementSpoilt, a_fleet
from tests.bench.procfs import cpu_s
from tests.bench.report import Line, Mark, median_of
from tests.bench.sizes import Sizes

SLOTS: Final = 4
MARKS: Final = {2: Mark.at_least(0.5)}
"""By number of worker processes."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one round gave; of xargs, that is a rate and one cost.

    Attributes:
        rate: Commands a second, from ``enqueue_many`` to the last end.
        drain_rate: The same from a full queue.
        worker_us: CPU a command that the worker processes themselves used.
        server_us: CPU a command that Redis used.
        all_us: CPU a command of the workers, Redis and the commands together.
    """

    rate: float
    all_us: float
    drain_rate: float = 0.0
    worker_us: float = 0.0
    server_us: float = 0.0


def measure(sizes: Sizes) -> Iterator[Line]:
    """Let xargs, one worker process and two take turns."""
    xargs: list[Run] = []
    fleets: dict[int, list[Run]] = {1: [], 2: []}
    for _ in range(sizes.rounds):
        xargs.append(_xargs(sizes.commands))
        for processes, runs in fleets.items():
            runs.append(_fleet(processes, sizes))
    yield median_of([run.rate for run in xargs], f"xargs -P{SLOTS} -n1 /bin/true", "commands/s")
    yield median_of([run.all_us for run in xargs], "CPU of xargs and its commands", "µs/command")
    for processes, runs in fleets.items():
        kind = f"{processes} worker process{'es' if processes > 1 else ''} (-c {SLOTS})"

        def of_xargs(value: Callable[[Run], float], base: Callable[[Run], float], runs: Sequence[Run]) -> list[float]:
            return [value(run) / base(own) for run, own in zip(runs, xargs, strict=True)]

        yield median_of([run.rate for run in runs], f"{kind}, enqueue to last end", "commands/s")
        ratios = of_xargs(lambda run: run.rate, lambda own: own.rate, runs)
        yield median_of(ratios, f"{kind}, enqueue to last end", "of xargs", MARKS.get(processes))
        yield median_of([run.drain_rate for run in runs], f"{kind}, drain of a full queue", "commands/s")
        ratios = of_xargs(lambda run: run.drain_rate, lambda own: own.rate, runs)
        yield median_of(ratios, f"{kind}, drain of a full queue", "of xargs")
        yield median_of([run.worker_us for run in runs], f"{kind}, CPU of the workers", "µs/command")
        yield median_of([run.server_us for run in runs], f"{kind}, CPU of Redis", "µs/command")
        ratios = of_xargs(lambda run: run.all_us, lambda own: own.all_us, runs)
        yield median_of(ratios, f"{kind}, CPU of it all, commands included", "of xargs")


def _xargs(commands: int) -> Run:
    program = shutil.which("xargs")
    if program is None:
        raise MeasurementSpoilt("there is no xargs on PATH to compare with; it comes with findutils")
    words = "\n".join(map(str, range(commands)))
    before_s, began = _children_s(), time.perf_counter()
    done = subprocess.run([program, f"-P{SLOTS}", "-n1", *TRUE], input=words.encode(), check=False)
    took_s = time.perf_counter() - began
    if done.returncode != 0:
        raise MeasurementSpoilt(f"xargs ended with {done.returncode}: not every command succeeded")
    return Run(commands / took_s, (_children_s() - before_s) / commands * 1e6)


def _fleet(processes: int, sizes: Sizes) -> Run:
    with a_fleet() as fleet:
        fleet.start_worker(processes, concurrency=SLOTS, warm_up=sizes.warm_up)
        before = _cpu(fleet)
        commands = [TRUE] * sizes.commands

        began = time.perf_counter()
        jobs = fleet.enqueue(commands)
        took_s = fleet.wait_until_drained() - began

        with fleet.frozen_workers():
            jobs += fleet.enqueue(commands)
            began = time.perf_counter()
        drain_s = fleet.wait_until_drained() - began

        workers_us, commands_us, server_us = (
            (now - then) / len(jobs) * 1e6 for now, then in zip(_cpu(fleet), before, strict=True)
        )
        fleet.check(jobs)
        return Run(
            rate=sizes.commands / took_s,
            drain_rate=sizes.commands / drain_s,
            worker_us=workers_us,
            server_us=server_us,
            all_us=workers_us + commands_us + server_us,
        )


def _cpu(fleet: Fleet) -> tuple[float, float, float]:
    """Seconds of CPU used so far: by the workers, by their commands, and by Redis."""
    used = [cpu_s(pid) for worker in fleet.workers for pid in worker.worker_pids]
    return sum(own for own, _ in used), sum(children for _, children in used), cpu_s(fleet.server.pid)[0]


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
