"""How long it takes from an enqueue to the result on an idle queue, and from a job's output to its reader."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from typing import Final

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target, quantiles_of
from oneshot_queue.bench.fleet import TRUE, Fleet, FleetFactory
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.states import JobState

RESULT_TARGETS: Final = Target.at_most(4.0), Target.at_most(10.0)
LAG_TARGET: Final = Target.at_most(30.0)
SLOTS: Final = 4
# Fewer than ten lines per second, because more would be batched. Each line is the time at which it was written, by the
# monotonic clock that all processes of a machine share.
_TALKER: Final = """
import random, sys, time
for _ in range(int(sys.argv[1])):
    print(time.monotonic(), flush=True)
    time.sleep(random.uniform(0.1, 0.2))
"""


def measure(new_fleet: FleetFactory, sizes: Sizes) -> Iterator[Line]:
    """Run jobs one after another, so that the queue is idle whenever the clock starts."""
    with new_fleet() as fleet:
        fleet.start_worker(1, concurrency=SLOTS, warm_up=sizes.warm_up)
        spans_s = [result_s(fleet) for _ in range(sizes.results)]
        yield from quantiles_of(spans_s, "enqueue to result", *RESULT_TARGETS)
        yield from quantiles_of(_lags(fleet, sizes.lines), "lag of a followed line", LAG_TARGET)


def result_s(fleet: Fleet) -> float:
    """Seconds from the enqueue of ``/bin/true`` to its result.

    Raises:
        MeasurementSpoilt: It failed.
    """
    # Long enough for a worker to wait for jobs again, and random, so that samples do not synchronise.
    time.sleep(random.uniform(0.005, 0.02))
    began = time.perf_counter()
    outcome = fleet.queue.enqueue(TRUE).wait()
    took_s = time.perf_counter() - began
    if outcome.state is not JobState.COMPLETED:
        raise MeasurementSpoilt(f"a job ended as {outcome.state}: {outcome.error}")
    return took_s


def _lags(fleet: Fleet, count: int) -> list[float]:
    job = fleet.queue.enqueue([sys.executable, "-I", "-S", "-c", _TALKER, str(count)])
    lags_s = []
    for chunk in job.output(follow=True):
        now = time.monotonic()
        lags_s += [now - float(line) for line in chunk.data.split()]
    if len(lags_s) != count:
        raise MeasurementSpoilt(f"a job wrote {count} lines, but {len(lags_s)} arrived")
    return lags_s
