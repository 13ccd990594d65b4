"""An exclusive job ends before its lease does, even if its worker is stuck."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import TIMEOUT_S, wait_until

STUCK = Path(__file__).with_name("stuck_worker.py")
LEASE_S = 3.0


@pytest.mark.thorough
@case("D6")
@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.thorough), 1])
def test_exclusive_job_of_a_stuck_worker_is_gone_before_it_can_start_again(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker, tmp_path: Path, retries: int
) -> None:
    own_deployment.tune(lease_s=LEASE_S)
    stuck = tmp_path / "stuck"
    worker = own_deployment.start_worker(concurrency=2, program=_stuck_in("renewal", stuck))
    script = f'[ "$ONESHOT_ATTEMPT" = 2 ] && exit; setsid {marker.sleep} & {marker.sleep}'
    job = own_deployment.enqueue(script, exclusive=True, retries=retries, retry_on=["worker_lost"], retry_delay=0.1)
    other = own_deployment.enqueue(marker.sleep)
    own_deployment.witness.until_count("start", 2)
    wait_until(marker.alive, lambda seen: len(seen) == 3, what="all sleepers")
    sweeping = own_deployment.start_worker(concurrency=1)

    stuck.touch()
    worker.wait_for("stuck")
    worker.wait_for(f"job {job.id}: killed, its lease is about to expire")
    left = wait_until(marker.alive, lambda seen: len(seen) == 1, what="only the exclusive job to be gone")
    assert record_of(job).state is JobState.RUNNING, "the job was settled before its lease ended"
    settled = wait_until(lambda: record_of(job), lambda seen: seen.state.is_final, what="the job to be settled")
    assert marker.alive() == left
    stuck.unlink()

    ids = [job.id, other.id]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, watcher=watcher, strays=marker.alive))
    expected = (JobState.COMPLETED, Cause.EXIT) if retries else (JobState.FAILED, Cause.WORKER_LOST)
    assert (settled.state, settled.cause) == expected
    assert own_deployment.witness.times("start")[job.id] == 1 + retries
    sweeping.stop()
    after = own_deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED


@pytest.mark.thorough
@case("D6")
@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.thorough), 1])
def test_exclusive_job_whose_worker_is_stuck_at_its_start_does_not_start_late(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker, tmp_path: Path, retries: int
) -> None:
    own_deployment.tune(lease_s=LEASE_S)
    stuck = tmp_path / "stuck"
    stuck.touch()
    worker = own_deployment.start_worker(concurrency=2, program=_stuck_in("start", stuck))
    job = own_deployment.enqueue(exclusive=True, retries=retries, retry_on=["worker_lost"], retry_delay=0.1)
    worker.wait_for("stuck")
    own_deployment.start_worker(concurrency=1)

    worker.wait_for(f"hangs while starting job {job.id}, whose lease is about to expire; killing the worker")
    stuck.unlink()
    settled = wait_until(lambda: record_of(job), lambda seen: seen.state.is_final, what="the job to be settled")

    verdict = check_invariants(own_deployment, acknowledged=[job.id], watcher=watcher, strays=marker.alive)
    assert_invariants(verdict, unseen=set() if retries else {"I4"})
    expected = (JobState.COMPLETED, Cause.EXIT) if retries else (JobState.FAILED, Cause.WORKER_LOST)
    assert (settled.state, settled.cause) == expected
    assert [each.attempt for each in own_deployment.witness.of("start")] == [2] * retries


@pytest.mark.thorough
@pytest.mark.parametrize("retries", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_only_exclusive_jobs_end_while_the_server_is_away(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, tmp_path: Path, retries: int
) -> None:
    real_deployment.tune(lease_s=LEASE_S)
    gate = tmp_path / "gate"
    worker = real_deployment.start_worker(concurrency=2)
    script = f'[ "$ONESHOT_ATTEMPT" = 2 ] && exit; setsid {marker.sleep} & {marker.sleep}'
    job = real_deployment.enqueue(script, exclusive=True, retries=retries, retry_on=["worker_lost"], retry_delay=0.1)
    other = real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo token=$ONESHOT_TOKEN")
    real_deployment.witness.until_count("start", 2)
    wait_until(marker.alive, lambda seen: len(seen) == 2, what="all sleepers")

    fresh_server.stop()
    wait_until(marker.alive, lambda left: not left, what="the exclusive job to end", limit_s=LEASE_S)
    assert f"job={job.id}" in worker.wait_for("its lease was not renewed")
    fresh_server.start()
    gate.touch()

    ids = [job.id, other.id]
    assert_invariants(check_invariants(real_deployment, acknowledged=ids, strays=marker.alive))
    expected = (JobState.COMPLETED, Cause.EXIT) if retries else (JobState.FAILED, Cause.WORKER_LOST)
    assert (record_of(job).state, record_of(job).cause) == expected
    assert record_of(other).state is JobState.COMPLETED
    assert real_deployment.witness.times("start") == {job.id: 1 + retries, other.id: 1}


def _stuck_in(place: str, file: Path) -> tuple[str, ...]:
    return (sys.executable, "-P", str(STUCK), place, str(file))
