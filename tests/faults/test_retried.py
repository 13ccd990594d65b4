"""A job with retries runs again, once per attempt."""

from __future__ import annotations

import random

import pytest

from oneshot_queue import JobState
from tests.faults.collecting import check_invariants
from tests.faults.fleet import Fleet
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until


def wait_for_the_next_second(deployment: Deployment) -> None:
    began = deployment.redis.time()[0]
    wait_until(lambda: deployment.redis.time()[0] > began, what="a second to pass")


@pytest.mark.thorough
@case("D3")
@pytest.mark.timeout(300)
def test_two_thousand_jobs_survive_a_worker_killed_every_second(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker, rng: random.Random
) -> None:
    own_deployment.tune(lease_s=3.0)
    fleet = Fleet(own_deployment, own_deployment.url, size=3, concurrency=4, rng=rng)
    argv = own_deployment.witness.command("sleep 0.1$(($$ % 10)); echo token=$ONESHOT_TOKEN")
    jobs = [own_deployment.queue.enqueue(argv, retries=3, retry_delay=0.1).id for _ in range(2_000)]

    kills = 0
    while own_deployment.entries() and kills < 60:
        wait_for_the_next_second(own_deployment)
        fleet.kill_worker()
        kills += 1

    assert kills >= 10, "the fault did not happen often enough"
    assert_invariants(
        check_invariants(own_deployment, acknowledged=jobs, watcher=watcher, strays=marker.alive, limit_s=120)
    )


@case("N12")
def test_interrupt_of_the_first_attempt_does_not_affect_the_second(
    own_deployment: Deployment, marker: ProcessMarker
) -> None:
    own_deployment.start_worker()
    job = own_deployment.enqueue(f'[ "$ONESHOT_ATTEMPT" = 1 ] && exit 3; {marker.sleep}', retries=1, retry_delay=0.1)
    own_deployment.wait_for_subscriber()
    wait_until(marker.alive, what="the second attempt")

    (lease,) = own_deployment.leases()
    own_deployment.redis.hset(own_deployment.keys.intents(lease), job.id, "1 -")
    own_deployment.redis.publish(own_deployment.keys.control, f"{job.id} 1")
    other = own_deployment.enqueue()

    assert other.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert marker.alive()
    assert record_of(job).state is JobState.RUNNING
    job.interrupt()
    own_deployment.redis.hdel(own_deployment.keys.intents(lease), job.id)
    assert_invariants(
        check_invariants(own_deployment, acknowledged=[job.id], interrupted=[job.id], strays=marker.alive)
    )


@pytest.mark.thorough
@case("D10")
def test_job_that_no_worker_survives_starting_fails_as_poison(
    own_deployment: Deployment, watcher: ResultWatcher
) -> None:
    """Without ONESHOT_CRASH_MARK, each replacement dies where the first worker did."""
    own_deployment.tune(lease_s=3.0)
    own_deployment.start_worker(
        concurrency=1, environment={"ONESHOT_TEST_FAULTS": "1", "ONESHOT_CRASH_AT": "before_spawn"}
    )
    job = own_deployment.enqueue()

    record = wait_until(lambda: record_of(job), lambda seen: seen.state.is_final, what="its result", limit_s=50)

    assert (record.state, str(record.cause)) == (JobState.FAILED, "poison")
    assert own_deployment.witness.of("start") == []
    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id], watcher=watcher), unseen=["I4"])
