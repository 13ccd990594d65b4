"""How fast one job can write output, and how that affects other jobs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Final

from oneshot_queue.bench.figures import Line, Target, median_of
from oneshot_queue.bench.fleet import Fleet, FleetFactory
from oneshot_queue.bench.latency import result_s
from oneshot_queue.bench.sizes import Sizes

SLOTS: Final = 4
ENDLESS: Final = ("/bin/sh", "-c", "exec cat /dev/zero")
SLOWDOWN_TARGET: Final = Target.at_most(2.0)


def measure(new_fleet: FleetFactory, sizes: Sizes) -> Iterator[Line]:
    """Measure both with one worker."""
    with new_fleet() as fleet:
        fleet.start_worker(1, concurrency=SLOTS, warm_up=sizes.warm_up)
        rates = [_rate(fleet, sizes.written_mb) for _ in range(sizes.rounds)]
        yield median_of(rates, f"one job that writes {sizes.written_mb} MB", "MB/s")
        alone_s = statistics.median(result_s(fleet) for _ in range(sizes.results))
        (job,) = fleet.enqueue([ENDLESS])
        fleet.until(lambda: fleet.fields([job], "output")[0][0], bool, "the job's output")
        busy_s = statistics.median(result_s(fleet) for _ in range(sizes.results))
        fleet.interrupt([job], grace=0.0)
        name = "enqueue to result next to a job that never stops writing, p50"
        yield Line(name, busy_s / alone_s, "times as long as alone", target=SLOWDOWN_TARGET)


def _rate(fleet: Fleet, megabytes: int) -> float:
    began = time.perf_counter()
    (job,) = fleet.enqueue([("/bin/sh", "-c", f"exec head -c {megabytes * 1_000_000} /dev/zero")])
    took_s = fleet.wait_until_drained() - began
    fleet.check([job], output_bytes=megabytes * 1_000_000)
    return megabytes / took_s
