"""How long it takes from SIGKILL of a worker until the processes of its jobs are gone and the jobs are settled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Final

from oneshot_queue.bench.exits import ProcessExits
from oneshot_queue.bench.figures import Line, Target, median_and_longest_of
from oneshot_queue.bench.fleet import Fleet, FleetFactory
from oneshot_queue.bench.interrupts import GROUP, group_of
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.states import JobState

JOBS: Final = 4
TARGET: Final = Target.at_most(2.0)


def measure(new_fleet: FleetFactory, sizes: Sizes) -> Iterator[Line]:
    """Kill workers, each under a fresh supervisor: a supervisor whose workers keep dying restarts them more slowly."""
    spans_s = []
    for _ in range(sizes.kills):
        with new_fleet() as fleet:
            fleet.start_worker(1, concurrency=JOBS, warm_up=1)
            spans_s.append(_kill(fleet))
    yield from median_and_longest_of(spans_s, "SIGKILL of a worker to its processes gone and jobs settled", TARGET)


def _kill(fleet: Fleet) -> float:
    jobs = fleet.enqueue([GROUP] * JOBS)
    pids = [pid for job in jobs for pid in group_of(fleet, job)]
    with ProcessExits(pids) as exits:
        began = time.perf_counter()
        os.kill(fleet.workers[0].worker_pids[0], signal.SIGKILL)
        exits.wait()
        fleet.until(
            lambda: [state for (state,) in fleet.fields(jobs, "state")],
            lambda states: all(state is not None and JobState(state).is_final for state in states),
            "every job to be settled",
        )
        return time.perf_counter() - began
