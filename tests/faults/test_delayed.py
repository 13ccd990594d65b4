"""A job that is due while nobody is there runs once when somebody is (pending: delays)."""

from __future__ import annotations

from oneshot_queue import JobState
from tests.faults.cases import case
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.integration.deployment import Deployment, record_of
from tests.waiting import wait_until


@case("D11")
def test_a_job_due_while_no_worker_was_there_runs_once_although_ten_come_at_once(own_deployment: Deployment) -> None:
    job = own_deployment.enqueue(delay=1)
    due = own_deployment.redis.time()[0] + 2
    wait_until(lambda: own_deployment.redis.time()[0] >= due, what="the job to be due")
    assert record_of(job).state is JobState.CREATED

    for _ in range(10):
        own_deployment.start_worker(concurrency=1, until_ready=False)

    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id]))
    assert own_deployment.witness.times("start") == {job.id: 1}


@case("N13")
def test_a_delayed_job_that_is_interrupted_is_gone_from_the_delayed_and_never_starts(
    own_deployment: Deployment,
) -> None:
    job = own_deployment.enqueue(delay=1)
    delayed = f"{own_deployment.keys.prefix}:delayed"
    assert own_deployment.redis.zcard(delayed) == 1

    assert job.interrupt().state is JobState.INTERRUPTED

    assert own_deployment.redis.zcard(delayed) == 0
    own_deployment.start_worker()
    other = own_deployment.enqueue(delay=2)
    assert other.wait(timeout=20).state is JobState.COMPLETED
    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id, other.id], interrupted=[job.id]))
    assert own_deployment.witness.times("start") == {other.id: 1}
