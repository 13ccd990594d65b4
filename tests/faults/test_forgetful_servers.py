"""A server that forgets: its last writes in a crash, or whole jobs when it is full and allowed to."""

from __future__ import annotations

import pytest

from oneshot_queue import JobState
from tests.faults.cases import case
from tests.faults.collecting import check_invariants
from tests.faults.faults import cut_aof_tail
from tests.faults.invariants import assert_invariants
from tests.integration.deployment import Deployment, record_of
from tests.marks import Mark
from tests.servers import ServerProcess


@case("R2")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("cut_bytes", [1, 500, 4_000])
def test_a_server_that_lost_its_last_writes_is_told_them_again_and_nothing_starts_twice(
    real_deployment: Deployment, fresh_server: ServerProcess, mark: Mark, cut_bytes: int
) -> None:
    real_deployment.redis.config_set("appendfsync", "always")
    jobs = [real_deployment.enqueue(f"sleep 0.{number % 5}; echo token=$ONESHOT_TOKEN") for number in range(30)]
    # What was accepted long ago is not in the part that is cut off.
    real_deployment.redis.set("ballast", b"x" * 4_000)
    real_deployment.start_worker(concurrency=3)
    real_deployment.witness.until_count("end", 10)

    fresh_server.kill()
    cut_aof_tail(fresh_server, cut_bytes)
    fresh_server.start()

    verdict = check_invariants(real_deployment, acknowledged=[job.id for job in jobs], strays=mark.alive, limit_s=60)
    assert_invariants(verdict)
    assert {record_of(job).state for job in jobs} == {JobState.COMPLETED}


@case("R15")
def test_a_worker_refuses_a_server_that_forgets_jobs_when_it_is_full(real_deployment: Deployment) -> None:
    real_deployment.redis.config_set("maxmemory-policy", "allkeys-lru")

    worker = real_deployment.start_worker(until_ready=False)

    assert worker.wait() != 0
    assert "allkeys-lru" in "\n".join(worker.lines)
