"""A server that loses data: its last writes in a crash, or keys that it evicts."""

from __future__ import annotations

import pytest

from oneshot_queue import Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.faults import aof_of, cut_aof_tail, frozen, kill_process
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import TIMEOUT_S, wait_until


@pytest.mark.thorough
@case("R2")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("cut_bytes", [*(pytest.param(each, marks=pytest.mark.thorough) for each in (1, 500)), 4_000])
def test_lost_writes_are_reported_again_and_no_job_starts_twice(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, cut_bytes: int
) -> None:
    real_deployment.redis.config_set("appendfsync", "always")
    jobs = [real_deployment.enqueue(f"sleep 0.{number % 5}; echo token=$ONESHOT_TOKEN") for number in range(30)]
    # The cut must not reach the accepted jobs.
    real_deployment.redis.set("ballast", b"x" * 4_000)
    real_deployment.start_worker(concurrency=3)
    real_deployment.witness.until_count("end", 10)

    fresh_server.kill()
    cut_aof_tail(fresh_server, cut_bytes)
    fresh_server.start()

    verdict = check_invariants(real_deployment, acknowledged=[job.id for job in jobs], strays=marker.alive, limit_s=60)
    assert_invariants(verdict)
    assert {record_of(job).state for job in jobs} == {JobState.COMPLETED}


@case("R2")
@pytest.mark.timeout(120)
def test_claims_lost_by_the_server_are_not_handed_out_again_though_their_worker_died_too(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker
) -> None:
    worker = real_deployment.start_worker(concurrency=3)
    # Until the first claim, workers take a server for new and do not wait for lost claims.
    assert real_deployment.enqueue().wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    with frozen(worker.worker_pid):
        # By the second reply, the server has answered a claim that the worker sent before it was frozen.
        for _ in range(2):
            real_deployment.redis.ping()
        jobs = [real_deployment.enqueue(marker.sleep) for _ in range(3)]
        real_deployment.redis.config_set("appendfsync", "always")
        real_deployment.redis.set("ballast", b"x")
        kept = aof_of(fresh_server).stat().st_size
    for job in jobs:
        real_deployment.witness.until("start", job.id)

    fresh_server.kill()
    cut_aof_tail(fresh_server, aof_of(fresh_server).stat().st_size - kept)
    kill_process(worker.worker_pid)
    wait_until(marker.alive, lambda left: not left, what="the processes of the dead worker to end")
    fresh_server.start()

    ids = [job.id for job in jobs]
    assert_invariants(check_invariants(real_deployment, acknowledged=ids, strays=marker.alive, limit_s=40))
    records = [record_of(job) for job in jobs]
    assert {(each.state, each.cause) for each in records} == {(JobState.FAILED, Cause.WORKER_LOST)}
    causes_of_jobs = [[row.cause for row in each.history] for each in records]
    assert all("adopted" in causes for causes in causes_of_jobs), (
        f"the fault did not happen: no claim was lost: {causes_of_jobs}"
    )
    assert {real_deployment.witness.times("start")[each] for each in ids} == {1}


@case("R15")
def test_worker_refuses_a_server_that_evicts_keys(real_deployment: Deployment) -> None:
    real_deployment.redis.config_set("maxmemory-policy", "allkeys-lru")
    job = real_deployment.enqueue()

    worker = real_deployment.start_worker(until_ready=False)

    assert worker.wait() != 0
    assert "allkeys-lru" in "\n".join(worker.lines)
    assert record_of(job).state is JobState.CREATED
    real_deployment.redis.config_set("maxmemory-policy", "noeviction")
    real_deployment.start_worker()
    assert_invariants(check_invariants(real_deployment, acknowledged=[job.id]))
