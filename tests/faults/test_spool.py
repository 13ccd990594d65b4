"""Results that Redis cannot accept are spooled to disk, and survive a crash; a full disk loses no job."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from oneshot_queue import JobState, SyncJob
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.workers.worker.spool import Spooled, read_spool
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.support.deployment import Deployment, record_of
from tests.support.faults import kill_process
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerProcess

LEASE_S = 6.0


def spooled(deployment: Deployment) -> list[Spooled]:
    """All spooled results."""

    def keys_of(queue: str) -> QueueKeys:
        return QueueKeys(deployment.keys.namespace, queue)

    paths = deployment.state_folder.glob("oneshot-queue/workers/*/spool")
    return [each for path in paths for each in read_spool(path, keys_of)]


def gated(deployment: Deployment, gate: Path) -> list[SyncJob]:
    """Three jobs that end once the gate exists, each with another result."""
    endings = ("echo token=$ONESHOT_TOKEN", "exit 3", "kill -SEGV $$")
    return [deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; {ending}") for ending in endings]


def assert_own_results(jobs: list[SyncJob]) -> None:
    records = [record_of(job) for job in jobs]
    assert [(each.state, each.exit_code, each.signal) for each in records] == [
        (JobState.COMPLETED, 0, None),
        (JobState.FAILED, 3, None),
        (JobState.FAILED, None, signal.SIGSEGV),
    ]


@pytest.mark.parametrize("killed", [pytest.param("worker", marks=pytest.mark.thorough), "host"])
def test_spooled_results_are_recorded_though_their_worker_was_killed(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, tmp_path: Path, killed: str
) -> None:
    real_deployment.tune(lease_s=LEASE_S)
    gate = tmp_path / "gate"
    worker = real_deployment.start_worker(concurrency=3, arguments=["--name", "same"])
    jobs = gated(real_deployment, gate)
    real_deployment.witness.until_count("start", 3)

    fresh_server.stop()
    gate.touch()
    wait_until(lambda: len(spooled(real_deployment)), lambda count: count == 3, what="all results to be spooled")
    kill_process(worker.worker_pid) if killed == "worker" else worker.kill()
    fresh_server.start()
    if killed == "host":
        worker = real_deployment.start_worker(concurrency=3, arguments=["--name", "same"])

    ids = [job.id for job in jobs]
    assert_invariants(check_invariants(real_deployment, acknowledged=ids, strays=marker.alive))
    assert_own_results(jobs)
    assert real_deployment.witness.times("start") == dict.fromkeys(ids, 1)
    wait_until(lambda: spooled(real_deployment), lambda left: not left, what="the spool to be empty")
    worker.stop()


def allow_file_bytes(worker: WorkerProcess, most: int) -> None:
    """Limit the size of files, to act like a full disk."""
    resource.prlimit(worker.worker_pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def test_full_disk_is_reported_and_loses_no_job(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = real_deployment.start_worker(concurrency=3)
    jobs = gated(real_deployment, gate)
    real_deployment.witness.until_count("start", 3)
    allow_file_bytes(worker, 100)

    fresh_server.stop()
    gate.touch()
    worker.wait_for("cannot be spooled to disk until the broker accepts them")
    assert spooled(real_deployment) == []
    worker.wait_for("end ", times=3)
    fresh_server.start()

    ids = [job.id for job in jobs]
    assert_invariants(check_invariants(real_deployment, acknowledged=ids, strays=marker.alive))
    assert_own_results(jobs)
    worker.stop()
