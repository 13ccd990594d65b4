"""How long recovery takes after a fault: killed workers, lost hosts, workers without pub/sub, a restart of Redis."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Final

from oneshot_queue.bench import recovery as killed_workers
from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target, median_and_longest_of
from oneshot_queue.bench.fleet import Fleet, WorkerProcess
from oneshot_queue.client.sync_queue import SyncJob
from oneshot_queue.states import JobState
from tests.bench.fleet import a_fleet, a_private_fleet
from tests.bench.sizes import Sizes
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until
from tests.support.wire import Wire
from tests.support.wire_faults import half_open, subscribers
from tests.support.witness import Witness

LEASE_S: Final = 3.0
RENEW_S: Final = LEASE_S / 6
LEASE: Final = ("--lease", f"{LEASE_S:g}s")
JOBS: Final = 4
RESTART_JOBS: Final = 50

LOST_HOST_TARGET = Target.at_most(2 * LEASE_S + 5)
NO_PUBSUB_TARGET = Target.at_most(RENEW_S + 1)
RESTART_TARGET = Target.at_most(0)


def measure(sizes: Sizes) -> Iterator[Line]:
    """Cause each fault, and measure the recovery."""
    yield from killed_workers.measure(a_fleet, sizes)
    lost_host_s = list(_lost_hosts(sizes))
    yield from median_and_longest_of(
        lost_host_s, f"loss of a host to its jobs settled, lease {LEASE_S:g} s", LOST_HOST_TARGET
    )
    without_pubsub_s = list(_workers_without_pubsub(sizes))
    name = f"interrupt without pub/sub to process group gone, renewal every {RENEW_S:g} s"
    yield from median_and_longest_of(without_pubsub_s, name, NO_PUBSUB_TARGET)
    affected = _restart_of_redis()
    name = f"jobs killed, lost or started twice by a restart of Redis, of {RESTART_JOBS}"
    yield Line(name, affected, "jobs", target=RESTART_TARGET)


def _lost_hosts(sizes: Sizes) -> Iterator[float]:
    processes = ProcessMarker()
    for _ in range(sizes.losses):
        with a_fleet() as fleet, TemporaryDirectory() as elsewhere:
            fleet.start_worker(1, concurrency=JOBS, warm_up=1, arguments=LEASE)
            jobs = _running(fleet, processes)
            # With a state folder of its own, as on another machine: it can learn of the loss only from Redis.
            home = {"XDG_STATE_HOME": elsewhere}
            fleet.start_worker(1, concurrency=JOBS, warm_up=0, arguments=LEASE, environment=home)
            host = fleet.workers.pop(0)
            began = time.perf_counter()
            _lose(host, processes)
            yield _until_over(fleet, jobs, processes) - began


def _workers_without_pubsub(sizes: Sizes) -> Iterator[float]:
    processes = ProcessMarker()
    with a_private_fleet() as private, Wire(private.server.socket_path, private.folder / "w") as wire:
        fleet = private.fleet
        fleet.start_worker(1, concurrency=JOBS, warm_up=1, arguments=LEASE, url=wire.url)
        with wire.impaired(half_open(on=subscribers)) as fault:
            for _ in range(sizes.losses):
                jobs = _running(fleet, processes)
                began = time.perf_counter()
                fleet.queue.interrupt([job.id for job in jobs], grace=0, confirm=False)
                yield _until_over(fleet, jobs, processes) - began
            fault.assert_happened()


def _restart_of_redis() -> int:
    with a_private_fleet() as private:
        fleet = private.fleet
        witness = Witness(private.folder / "witness")
        gate = private.folder / "gate"
        fleet.start_worker(1, concurrency=RESTART_JOBS, warm_up=1)
        jobs = fleet.enqueue([witness.command(f"until [ -e {gate} ]; do sleep 0.1; done")] * RESTART_JOBS)
        witness.until_count("start", RESTART_JOBS)

        private.server.stop()
        private.server.start()
        gate.touch()
        fleet.wait_until_drained()

        starts, ends = witness.times("start"), witness.times("end")
        completed = Counter(state for (state,) in fleet.fields(jobs, "state"))[str(JobState.COMPLETED)]
        affected = {job.id for job in jobs if (starts[job.id], ends[job.id]) != (1, 1)}
        return max(len(affected), RESTART_JOBS - completed)


def _running(fleet: Fleet, processes: ProcessMarker) -> list[SyncJob]:
    """Start jobs, each with a child in another session, and wait until all processes run."""
    jobs = fleet.enqueue([["sh", "-c", f"setsid {processes.sleep} & {processes.sleep}"]] * JOBS)
    wait_until(processes.alive, lambda seen: len(seen) == 2 * JOBS, what="all processes of the jobs")
    return jobs


def _until_over(fleet: Fleet, jobs: list[SyncJob], processes: ProcessMarker) -> float:
    """Wait until no process is left and every job is settled, and return the time by ``time.perf_counter``."""

    def is_over() -> bool:
        states = [state for (state,) in fleet.fields(jobs, "state")]
        return not processes.alive() and all(state is not None and JobState(state).is_final for state in states)

    wait_until(is_over, what="every job to be settled")
    return time.perf_counter()


def _lose(host: WorkerProcess, processes: ProcessMarker) -> None:
    """Kill all processes of a host at once, so that none can recover."""
    pids = [host.pid, *host.worker_pids, *processes.alive()]
    for pid in pids:
        with suppress(ProcessLookupError):  # it may have died with another one
            os.kill(pid, signal.SIGKILL)
    if host.process.wait() != -signal.SIGKILL:
        raise MeasurementSpoilt("the host's worker had exited before it was killed")
