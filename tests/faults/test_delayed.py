"""A delayed job that becomes due runs once, whoever promotes it."""

from __future__ import annotations

import time

import pytest

from oneshot_queue import JobState
from oneshot_queue.store.scripts import script
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.faults import Monitor
from tests.support.servers import ServerProcess
from tests.support.waiting import TIMEOUT_S, wait_until

WORKERS = 10
DELAY_S = 1.5


@pytest.mark.thorough
@case("D11")
def test_job_that_was_due_without_a_worker_runs_once_when_ten_workers_start(own_deployment: Deployment) -> None:
    job = own_deployment.enqueue(delay=1)
    due = own_deployment.redis.time()[0] + 2
    wait_until(lambda: own_deployment.redis.time()[0] >= due, what="the job to be due")
    assert record_of(job).state is JobState.CREATED

    for _ in range(10):
        own_deployment.start_worker(concurrency=1, until_ready=False)

    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id]))
    assert own_deployment.witness.times("start") == {job.id: 1}


@pytest.mark.thorough
@case("D11")
def test_job_that_ten_workers_promote_at_once_starts_once(
    real_deployment: Deployment, fresh_server: ServerProcess
) -> None:
    for _ in range(WORKERS):
        real_deployment.start_worker(concurrency=1)
    with Monitor(real_deployment.url) as monitor:
        job = real_deployment.enqueue(delay=DELAY_S)
        began = time.monotonic()

        # Each worker sends exactly one promotion meanwhile: it waits for the reply before the next.
        fresh_server.pause()
        wait_until(lambda: time.monotonic() - began, lambda passed_s: passed_s > DELAY_S + 1, what="the job to be due")
        fresh_server.resume()
        real_deployment.witness.until("start", job.id)
        due_s = (record_of(job).created_ms / 1000) + DELAY_S
        promotions = [at_s for at_s in monitor.instants_of(script("promote").sha) if at_s >= due_s]

    assert len([at_s for at_s in promotions if at_s < promotions[0] + 0.2]) >= 3, (
        "the fault did not happen: too few workers promoted at once"
    )
    assert_invariants(check_invariants(real_deployment, acknowledged=[job.id]))
    assert real_deployment.witness.times("start") == {job.id: 1}


@pytest.mark.thorough
@case("N13")
def test_interrupted_delayed_job_leaves_the_delayed_set_and_never_starts(
    own_deployment: Deployment,
) -> None:
    job = own_deployment.enqueue(delay=1)
    delayed = f"{own_deployment.keys.prefix}:delayed"
    assert own_deployment.redis.zcard(delayed) == 1

    assert job.interrupt().state is JobState.INTERRUPTED

    assert own_deployment.redis.zcard(delayed) == 0
    own_deployment.start_worker()
    other = own_deployment.enqueue(delay=2)
    assert other.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id, other.id], interrupted=[job.id]))
    assert own_deployment.witness.times("start") == {other.id: 1}
