"""From the death of a worker by SIGKILL until nothing of its jobs is left, and they are decided."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Final

from oneshot_queue.bench.deaths import Deaths
from oneshot_queue.bench.figures import Line, Target, median_and_longest_of
from oneshot_queue.bench.fleet import Fleet, Place
from oneshot_queue.bench.interrupts import GROUP, group_of
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.states import JobState

JOBS: Final = 4
TARGET: Final = Target.at_most(2.0)


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Each time with a fresh supervisor: one whose workers keep dying replaces them ever more slowly."""
    spans_s = []
    for _ in range(sizes.kills):
        with place() as fleet:
            fleet.start_worker(1, concurrency=JOBS, warm_up=1)
            spans_s.append(_kill(fleet))
    yield from median_and_longest_of(spans_s, "SIGKILL of a worker to no process and no job of it left", TARGET)


def _kill(fleet: Fleet) -> float:
    jobs = fleet.enqueue([GROUP] * JOBS)
    pids = [pid for job in jobs for pid in group_of(fleet, job)]
    with Deaths(pids) as deaths:
        began = time.perf_counter()
        os.kill(fleet.workers[0].worker_pids[0], signal.SIGKILL)
        deaths.wait()
        fleet.until(
            lambda: [state for (state,) in fleet.fields(jobs, "state")],
            lambda states: all(state is not None and JobState(state).is_final for state in states),
            "every job to be decided",
        )
        return time.perf_counter() - began
