"""How much memory workers and Redis need per job. 1 MB is 1,000,000 bytes here, 1 KB is 1,000.

Redis reports only its total memory, so what other clients store meanwhile is counted too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from oneshot_queue.bench.figures import Line, Target
from oneshot_queue.bench.fleet import Fleet, FleetFactory
from oneshot_queue.bench.procfs import rss_bytes
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.store.checkup import server_info

WORKER_TARGET: Final = Target.at_most(45.0)
RUNNING_TARGET: Final = Target.at_most(40.0)
QUEUED_TARGET: Final = Target.at_most(450.0)
FINISHED_TARGET: Final = Target.at_most(750.0)
OUTPUT_BYTES: Final = 40
SLOTS: Final = 4
SETTLED_S: Final = 0.2


def measure(new_fleet: FleetFactory, sizes: Sizes) -> Iterator[Line]:
    """Measure the memory of a worker, then that of Redis."""
    with new_fleet() as fleet:
        yield from _worker(fleet, sizes)
    with new_fleet() as fleet:
        yield from _server(fleet, sizes)


def _worker(fleet: Fleet, sizes: Sizes) -> Iterator[Line]:
    fleet.start_worker(1, concurrency=sizes.running, warm_up=sizes.warm_up)
    (worker,) = fleet.workers
    (worker_pid,) = worker.worker_pids
    idle_mb = rss_bytes(worker_pid) / 1e6
    jobs = fleet.enqueue([("/bin/sleep", "300")] * sizes.running)
    # Once the record has the process id, the start of the job is complete.
    fleet.until(
        lambda: sum(pid is not None for (pid,) in fleet.fields(jobs, "pid")),
        lambda started: started == len(jobs),
        "every job to run",
    )
    busy_mb = rss_bytes(worker_pid) / 1e6
    supervisor_mb = rss_bytes(worker.pid) / 1e6
    fleet.interrupt(jobs, grace=0.0)
    yield Line("worker, RSS at 0 running jobs", idle_mb, "MB", target=WORKER_TARGET)
    yield Line(f"worker, RSS at {sizes.running} running jobs", busy_mb, "MB")
    each_kb = (busy_mb - idle_mb) / sizes.running * 1e3
    yield Line("worker, RSS per running job", each_kb, "KB/job", target=RUNNING_TARGET)
    yield Line("supervisor, RSS", supervisor_mb, "MB")


def _server(fleet: Fleet, sizes: Sizes) -> Iterator[Line]:
    # The warm-up loads the scripts and creates the stream's group and the indexes, so that they are not counted.
    fleet.start_worker(1, concurrency=SLOTS, warm_up=sizes.warm_up)
    fleet.stop_workers()
    before = _used_memory(fleet)
    jobs = fleet.enqueue([("/bin/echo", "x" * (OUTPUT_BYTES - 1))] * sizes.stored)
    queued = _used_memory(fleet)
    fleet.start_worker(1, concurrency=SLOTS, warm_up=0)
    fleet.wait_until_drained()
    fleet.stop_workers()
    finished = _used_memory(fleet)
    fleet.check(jobs, output_bytes=OUTPUT_BYTES)
    yield Line("Redis, per queued job", (queued - before) / len(jobs), "B/job", target=QUEUED_TARGET)
    name = f"Redis, per finished job with {OUTPUT_BYTES} B of output"
    yield Line(name, (finished - before) / len(jobs), "B/job", target=FINISHED_TARGET)


def _used_memory(fleet: Fleet) -> int:
    """The memory that Redis uses, in bytes, once buffers are empty and tables have been resized."""

    def used() -> int:
        return int(fleet.server.run(server_info("memory"))["used_memory"])

    def settled() -> int:
        first = used()
        time.sleep(SETTLED_S)
        second = used()
        return second if abs(second - first) < first / 1000 else 0

    return fleet.until(settled, bool, "the memory of Redis to settle")
