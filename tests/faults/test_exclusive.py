"""A job that must never overlap with another attempt ends before its lease does, whatever its worker does about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.ends import EndsWatcher
from tests.faults.invariants import assert_invariants
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.marks import Mark
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until

STUCK = Path(__file__).with_name("stuck_worker.py")
LEASE_S = 3.0


@case("D6")
@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.thorough), 1])
def test_an_exclusive_job_whose_worker_is_stuck_is_gone_before_anybody_can_start_it_again(
    own_deployment: Deployment, ends: EndsWatcher, mark: Mark, tmp_path: Path, retries: int
) -> None:
    own_deployment.tune(lease_s=LEASE_S)
    stuck = tmp_path / "stuck"
    worker = own_deployment.start_worker(concurrency=2, program=_stuck_in("renewal", stuck))
    script = f'[ "$ONESHOT_ATTEMPT" = 2 ] && exit; setsid {mark.sleep} & {mark.sleep}'
    job = own_deployment.enqueue(script, exclusive=True, retries=retries, retry_on=["worker_lost"], retry_delay=0.1)
    other = own_deployment.enqueue(mark.sleep)
    own_deployment.witness.until_count("start", 2)
    wait_until(mark.alive, lambda seen: len(seen) == 3, what="all sleepers")
    sweeping = own_deployment.start_worker(concurrency=1)

    stuck.touch()
    worker.wait_for("stuck")
    worker.wait_for(f"job {job.id}: killed, its lease is about to expire")
    left = wait_until(mark.alive, lambda seen: len(seen) == 1, what="the exclusive job alone to be gone")
    assert record_of(job).state is JobState.RUNNING, "its lease cannot have been given away yet"
    decided = wait_until(lambda: record_of(job), lambda seen: seen.state.is_final, what="the job to be decided")
    assert mark.alive() == left
    stuck.unlink()

    ids = [job.id, other.id]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, ends=ends, strays=mark.alive))
    expected = (JobState.COMPLETED, Cause.EXIT) if retries else (JobState.FAILED, Cause.WORKER_LOST)
    assert (decided.state, decided.cause) == expected
    assert own_deployment.witness.times("start")[job.id] == 1 + retries
    sweeping.stop()
    after = own_deployment.enqueue()
    assert after.wait(timeout=20).state is JobState.COMPLETED


@case("D6")
@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.thorough), 1])
def test_an_exclusive_job_whose_worker_is_stuck_in_its_start_does_not_begin_late(
    own_deployment: Deployment, ends: EndsWatcher, mark: Mark, tmp_path: Path, retries: int
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
    decided = wait_until(lambda: record_of(job), lambda seen: seen.state.is_final, what="the job to be decided")

    verdict = check_invariants(own_deployment, acknowledged=[job.id], ends=ends, strays=mark.alive)
    assert_invariants(verdict, unseen=set() if retries else {"I4"})
    expected = (JobState.COMPLETED, Cause.EXIT) if retries else (JobState.FAILED, Cause.WORKER_LOST)
    assert (decided.state, decided.cause) == expected
    assert [each.attempt for each in own_deployment.witness.of("start")] == [2] * retries


@pytest.mark.parametrize("retries", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_an_exclusive_job_ends_before_its_lease_while_its_server_is_away_and_the_others_run_on(
    real_deployment: Deployment, fresh_server: ServerProcess, mark: Mark, tmp_path: Path, retries: int
) -> None:
    real_deployment.tune(lease_s=LEASE_S)
    gate = tmp_path / "gate"
    worker = real_deployment.start_worker(concurrency=2)
    script = f'[ "$ONESHOT_ATTEMPT" = 2 ] && exit; setsid {mark.sleep} & {mark.sleep}'
    job = real_deployment.enqueue(script, exclusive=True, retries=retries, retry_on=["worker_lost"], retry_delay=0.1)
    other = real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo token=$ONESHOT_TOKEN")
    real_deployment.witness.until_count("start", 2)
    wait_until(mark.alive, lambda seen: len(seen) == 2, what="all sleepers")

    fresh_server.stop()
    wait_until(mark.alive, lambda left: not left, what="the exclusive job to end", limit_s=LEASE_S)
    worker.wait_for(f"job {job.id}: its lease was not renewed")
    fresh_server.start()
    gate.touch()

    ids = [job.id, other.id]
    assert_invariants(check_invariants(real_deployment, acknowledged=ids, strays=mark.alive))
    expected = (JobState.COMPLETED, Cause.EXIT) if retries else (JobState.FAILED, Cause.WORKER_LOST)
    assert (record_of(job).state, record_of(job).cause) == expected
    assert record_of(other).state is JobState.COMPLETED
    assert real_deployment.witness.times("start") == {job.id: 1 + retries, other.id: 1}


def _stuck_in(place: str, file: Path) -> tuple[str, ...]:
    return (sys.executable, "-P", str(STUCK), place, str(file))
