"""From ``interrupt`` to the death of a whole process group."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from oneshot_queue.bench.deaths import Deaths
from oneshot_queue.bench.figures import Line, Target, quantiles_of
from oneshot_queue.bench.fleet import Fleet, Place
from oneshot_queue.bench.procfs import children_of
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.client.sync_queue import SyncJob

GROUP: Final = ("/bin/sh", "-c", "sleep 300 & wait")
"""A leader and a child: the group is dead when both are."""
P50_TARGET: Final = Target.at_most(3.0)
P99_TARGET: Final = Target.at_most(10.0)
SLOTS: Final = 4


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """One after another, on an idle queue."""
    with place() as fleet:
        fleet.start_worker(1, concurrency=SLOTS, warm_up=sizes.warm_up)
        spans = [_interrupt(fleet) for _ in range(sizes.interrupts)]
    yield from quantiles_of([dead_s for dead_s, _ in spans], "interrupt to group dead", P50_TARGET, P99_TARGET)
    yield from quantiles_of([said_s for _, said_s in spans], "interrupt to its confirmation")


def _interrupt(fleet: Fleet) -> tuple[float, float]:
    # Seconds to the death of the last process, and to the return of ``interrupt``.
    (job,) = fleet.enqueue([GROUP])
    pids = group_of(fleet, job)
    # Long enough for a worker to be at rest; of uneven length, lest it fall in step with something.
    time.sleep(random.uniform(0.005, 0.02))
    with Deaths(pids) as deaths, ThreadPoolExecutor(1) as watcher:
        dead = watcher.submit(deaths.wait)
        began = time.perf_counter()
        fleet.interrupt([job])
        said = time.perf_counter()
        return dead.result() - began, said - began


def group_of(fleet: Fleet, job: SyncJob) -> list[int]:
    """Wait until both processes of a ``GROUP`` run."""

    def group() -> list[int]:
        ((pid,),) = fleet.fields([job], "pid")
        return [] if pid is None else [int(pid), *children_of(int(pid))]

    return fleet.until(group, lambda pids: len(pids) == 2, "the job's two processes")
