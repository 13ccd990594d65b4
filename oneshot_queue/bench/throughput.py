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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target, median_of
from oneshot_queue.bench.fleet import TRUE, Place
from oneshot_queue.bench.sizes import Sizes

XARGS_SLOTS: Final = 4
UNIT: Final = "commands/s"


@dataclass(frozen=True, slots=True)
class Crew:
    """A worker that takes part.

    Attributes:
        processes: Its worker processes.
        slots: Commands that all of them together run at once.
        mark: What it should reach, in terms of xargs with four.
        afar_mark: What should be left of its rate when the broker is far away. A slot waits for a round trip between
            two jobs: few slots cannot hide that, many do.
    """

    processes: int
    slots: int
    target: Target | None = None
    afar_mark: Target | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.processes} worker process{'es' if self.processes > 1 else ''} (-c {self.slots})"


CREWS: Final = (
    Crew(1, 4, Target.at_least(0.7)),
    Crew(2, 4, Target.at_least(1.0)),
    Crew(2, 32, Target.at_least(1.0), afar_mark=Target.at_least(0.8)),
)
AFAR_TARGETS: Final = {f"{crew.name}, enqueue to last end": crew.afar_mark for crew in CREWS}
"""By the names of the lines that are compared from afar."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one round gave; of xargs, that is a rate and one cost.

    Attributes:
        rate: Commands a second, from ``enqueue_many`` to the last end.
        all_us: CPU a command of the workers, Redis and the commands together.
        drain_rate: The same from a full queue.
        worker_us: CPU a command that the worker processes themselves used.
        server_us: CPU a command that Redis used.
    """

    rate: float
    all_us: float
    drain_rate: float = 0.0
    worker_us: float = 0.0
    server_us: float = 0.0


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Let xargs, where there is one, and all crews take turns."""
    program = shutil.which("xargs")
    xargs: list[Run] = []
    crews: dict[Crew, list[Run]] = {crew: [] for crew in CREWS}
    for _ in range(sizes.rounds):
        if program is not None:
            xargs.append(xargs_run(program, sizes.commands))
        for crew, runs in crews.items():
            runs.append(_fleet(place, crew, sizes))
    if xargs:
        yield median_of([run.rate for run in xargs], f"xargs -P{XARGS_SLOTS} -n1 /bin/true", UNIT)
        yield median_of([run.all_us for run in xargs], "CPU of xargs and its commands", "µs/command")
    for crew, runs in crews.items():
        yield median_of([run.rate for run in runs], f"{crew.name}, enqueue to last end", UNIT)
        yield median_of([run.drain_rate for run in runs], f"{crew.name}, drain of a full queue", UNIT)
        yield median_of([run.worker_us for run in runs], f"{crew.name}, CPU of the workers", "µs/command")
        yield median_of([run.server_us for run in runs], f"{crew.name}, CPU of Redis", "µs/command")
        if xargs:
            yield from _next_to_xargs(crew, runs, xargs)


def _next_to_xargs(crew: Crew, runs: Sequence[Run], xargs: Sequence[Run]) -> Iterator[Line]:
    turns = list(zip(runs, xargs, strict=True))
    rates = [run.rate / own.rate for run, own in turns]
    yield median_of(rates, f"{crew.name}, enqueue to last end", "of xargs", crew.target)
    rates = [run.drain_rate / own.drain_rate for run, own in turns]
    yield median_of(rates, f"{crew.name}, drain of a full queue", "of xargs")
    costs = [run.all_us / own.all_us for run, own in turns]
    yield median_of(costs, f"{crew.name}, CPU of workers, Redis and commands", "of xargs")


def xargs_run(program: str, commands: int) -> Run:
    """Let xargs start so many commands, four at once.

    Raises:
        MeasurementSpoilt: One failed.
    """
    words = "\n".join(map(str, range(commands)))
    before_s, began = _children_s(), time.perf_counter()
    done = subprocess.run([program, f"-P{XARGS_SLOTS}", "-n1", *TRUE], input=words.encode(), check=False)
    took_s = time.perf_counter() - began
    if done.returncode != 0:
        raise MeasurementSpoilt(f"xargs ended with {done.returncode}: not every command succeeded")
    rate = commands / took_s
    return Run(rate, (_children_s() - before_s) / commands * 1e6, drain_rate=rate)


def _fleet(place: Place, crew: Crew, sizes: Sizes) -> Run:
    with place() as fleet:
        fleet.start_worker(crew.processes, concurrency=crew.slots, warm_up=sizes.warm_up)
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
