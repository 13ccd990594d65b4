"""Wrong and jumping clocks, of a worker or of the server, change no job's fate."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerProcess

LEASE_S = 3.0
HOUR_S = 3_600
SKEWED = Path(__file__).with_name("skewed_worker.py")


def start_skewed(deployment: Deployment, ahead_s: int) -> WorkerProcess:
    return deployment.start_worker(concurrency=2, program=(sys.executable, "-P", str(SKEWED), str(ahead_s)))


@pytest.mark.thorough
@case("D12")
def test_workers_with_clocks_an_hour_wrong_keep_their_leases_and_start_jobs_on_time(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.tune(lease_s=LEASE_S)
    workers = [start_skewed(own_deployment, ahead_s) for ahead_s in (HOUR_S, -HOUR_S)]
    # One for each worker, twice as long as its lease.
    long = [own_deployment.enqueue(f"sleep {2 * LEASE_S}; echo token=$ONESHOT_TOKEN") for _ in range(2)]
    own_deployment.witness.until_count("start", 2)
    delayed = [own_deployment.enqueue(delay=1.5) for _ in range(4)]
    retried = own_deployment.enqueue('[ "$ONESHOT_ATTEMPT" = 2 ] || exit 3', retries=1, retry_delay=1)
    lasting = own_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}", delay=1)
    own_deployment.witness.until("start", lasting.id)
    lasting.interrupt()

    jobs = [*long, *delayed, retried, lasting]
    ids = [job.id for job in jobs]
    assert_invariants(
        check_invariants(
            own_deployment, acknowledged=ids, interrupted=[lasting.id], watcher=watcher, strays=marker.alive
        )
    )
    assert {record_of(job).state for job in jobs} == {JobState.COMPLETED, JobState.INTERRUPTED}
    assert own_deployment.witness.times("start") == dict.fromkeys(ids, 1) | {retried.id: 2}
    now_ms = int(own_deployment.redis.time()[0]) * 1000
    for job in jobs:
        rows = record_of(job).history
        assert all(abs(row.at_ms - now_ms) < 60_000 for row in rows), "a row has the time of a worker's clock"
    for job in delayed:
        created, started, *_ = record_of(job).history
        assert 1_500 <= started.at_ms - created.at_ms < 10_000
    for worker in workers:
        assert not any("is lost" in line for line in worker.lines)
        worker.stop()


@pytest.mark.thorough
@case("D12")
@pytest.mark.parametrize("step_s", [-600, 600], ids=["back", "forward"])
def test_server_whose_clock_steps_loses_no_job_of_a_live_worker_and_settles_those_of_a_dead_one(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker, step_s: int
) -> None:
    """A server's clock cannot be set here, so the test moves the times that it has written."""
    own_deployment.tune(lease_s=LEASE_S)
    dead = own_deployment.start_worker(concurrency=1)
    lost = own_deployment.enqueue(marker.sleep)
    own_deployment.witness.until("start", lost.id)
    (lease,) = own_deployment.leases()
    worker = own_deployment.start_worker(concurrency=2)
    running = own_deployment.enqueue(f"sleep {2 * LEASE_S}; echo token=$ONESHOT_TOKEN")
    own_deployment.witness.until("start", running.id)
    (own,) = own_deployment.leases() - {lease}
    dead.kill()

    for each in (lease, own):
        assert own_deployment.redis.zincrby(own_deployment.keys.workers, -step_s * 1000, each) > 0
    began = time.monotonic()
    after = own_deployment.enqueue()
    record = wait_until(lambda: record_of(lost), lambda seen: seen.state.is_final, what="the lost job to be settled")

    assert LEASE_S - 1 < time.monotonic() - began < 2 * LEASE_S + 5
    assert (record.state, record.cause) == (JobState.FAILED, Cause.WORKER_LOST)
    assert marker.alive(), "the fault did not happen: the processes of the lost job are gone"
    own_deployment.start_worker(concurrency=1)
    ids = [lost.id, running.id, after.id]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, watcher=watcher, strays=marker.alive))
    assert {record_of(job).state for job in (running, after)} == {JobState.COMPLETED}
    assert own_deployment.witness.times("start") == dict.fromkeys(ids, 1)
    assert not any("is lost" in line for line in worker.lines)
