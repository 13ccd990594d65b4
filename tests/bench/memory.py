"""What a worker and Redis need for each job. 1 MB is 1,000,000 bytes here, 1 KB is 1,000."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from oneshot_queue.states import JobState
from tests.bench.fleet import Fleet, MeasurementSpoilt, a_fleet
from tests.bench.procfs import rss_bytes
from tests.bench.report import Line, Mark
from tests.bench.sizes import Sizes
from tests.waiting import wait_until

WORKER_MB: Final = 60.0
RUNNING_JOB_MB: Final = 0.1
STORED_MARK = Mark.at_most(1_500)
OUTPUT_BYTES: Final = 40
SLOTS: Final = 4
SETTLED_S: Final = 0.2


def measure(sizes: Sizes) -> Iterator[Line]:
    """First a worker's memory, then that of Redis."""
    with a_fleet() as fleet:
        yield from _worker(fleet, sizes)
    with a_fleet() as fleet:
        yield from _server(fleet, sizes)


def _worker(fleet: Fleet, sizes: Sizes) -> Iterator[Line]:
    fleet.start_worker(1, concurrency=sizes.running, warm_up=sizes.warm_up)
    (worker,) = fleet.workers
    (worker_pid,) = worker.worker_pids
    idle_mb = rss_bytes(worker_pid) / 1e6
    jobs = fleet.enqueue([("/bin/sleep", "300")] * sizes.running)
    # A process id in the record: started, and nothing of the start is left to do.
    wait_until(
        lambda: sum(pid is not None for (pid,) in fleet.fields(jobs, "pid")),
        lambda started: started == len(jobs),
        what="every job to run",
    )
    busy_mb = rss_bytes(worker_pid) / 1e6
    supervisor_mb = rss_bytes(worker.pid) / 1e6
    for report in fleet.queue.interrupt([job.id for job in jobs], grace=0.0):
        if report.state is not JobState.INTERRUPTED:
            raise MeasurementSpoilt(f"an interrupted job ended {report.state}")
    yield Line("worker, RSS at 0 running jobs", idle_mb, "MB", mark=Mark.at_most(WORKER_MB))
    yield Line(
        f"worker, RSS at {sizes.running} running jobs",
        busy_mb,
        "MB",
        mark=Mark.at_most(WORKER_MB + RUNNING_JOB_MB * sizes.running),
    )
    yield Line("supervisor, RSS", supervisor_mb, "MB")
    yield Line("worker, RSS for each running job", (busy_mb - idle_mb) / sizes.running * 1e3, "KB/job")


def _server(fleet: Fleet, sizes: Sizes) -> Iterator[Line]:
    # Scripts, the stream's group and the indexes are there before anything is counted.
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
    yield Line("Redis, for each queued job", (queued - before) / len(jobs), "B/job", mark=STORED_MARK)
    name = f"Redis, for each finished job with {OUTPUT_BYTES} B of output"
    yield Line(name, (finished - before) / len(jobs), "B/job", mark=STORED_MARK)


def _used_memory(fleet: Fleet) -> int:
    """Once buffers are empty and tables have been resized."""

    def used() -> int:
        return int(fleet.client.info("memory")["used_memory"])

    def settled() -> int:
        first = used()
        time.sleep(SETTLED_S)
        second = used()
        return second if abs(second - first) < first / 1000 else 0

    return wait_until(settled, what="Redis' memory to settle")
