"""How long ``interrupt`` takes to end a whole process group."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from oneshot_queue.bench.exits import ProcessExits
from oneshot_queue.bench.figures import Line, Target, quantiles_of
from oneshot_queue.bench.fleet import Fleet, FleetFactory
from oneshot_queue.bench.procfs import children_of
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.client.sync_queue import SyncJob

GROUP: Final = ("/bin/sh", "-c", "sleep 300 & wait")
"""A leader and a child; both must exit."""
P50_TARGET: Final = Target.at_most(3.0)
P99_TARGET: Final = Target.at_most(10.0)
SLOTS: Final = 4


def measure(new_fleet: FleetFactory, sizes: Sizes) -> Iterator[Line]:
    """Interrupt jobs one after another, on an idle queue."""
    with new_fleet() as fleet:
        fleet.start_worker(1, concurrency=SLOTS, warm_up=sizes.warm_up)
        spans = [_interrupt(fleet) for _ in range(sizes.interrupts)]
    yield from quantiles_of([gone_s for gone_s, _ in spans], "interrupt to process group gone", P50_TARGET, P99_TARGET)
    yield from quantiles_of([confirmed_s for _, confirmed_s in spans], "interrupt to its confirmation")


def _interrupt(fleet: Fleet) -> tuple[float, float]:
    # Returns the seconds until the last process exited, and until ``interrupt`` returned.
    (job,) = fleet.enqueue([GROUP])
    pids = group_of(fleet, job)
    # Long enough for a worker to be idle, and random, so that samples do not synchronise with anything periodic.
    time.sleep(random.uniform(0.005, 0.02))
    with ProcessExits(pids) as exits, ThreadPoolExecutor(1) as watcher:
        gone = watcher.submit(exits.wait)
        began = time.perf_counter()
        fleet.interrupt([job])
        confirmed = time.perf_counter()
        return gone.result() - began, confirmed - began


def group_of(fleet: Fleet, job: SyncJob) -> list[int]:
    """Wait until both processes of a ``GROUP`` job are running, and return their ids."""

    def group() -> list[int]:
        ((pid,),) = fleet.fields([job], "pid")
        return [] if pid is None else [int(pid), *children_of(int(pid))]

    return fleet.until(group, lambda pids: len(pids) == 2, "the job's two processes")
