"""A server that died in the middle of a write starts on the rest: jobs may be missing, but none is damaged."""

from __future__ import annotations

import random

from oneshot_queue import JobNotFound, JobState, SyncJob
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.support.deployment import Deployment, record_of
from tests.support.faults import cut_aof_tail
from tests.support.servers import ServerProcess


def is_known(job: SyncJob) -> bool:
    try:
        record_of(job)
    except JobNotFound:
        return False
    return True


def test_jobs_before_the_lost_bytes_are_complete_and_run_once(
    real_deployment: Deployment, fresh_server: ServerProcess, rng: random.Random
) -> None:
    real_deployment.redis.config_set("appendfsync", "always")
    jobs = [real_deployment.enqueue() for _ in range(40)]

    fresh_server.kill()
    cut_aof_tail(fresh_server, rng.randint(1, 2_000))
    fresh_server.start()

    left = [job for job in jobs if is_known(job)]
    assert len(left) < len(jobs), "the fault did not happen: no job was lost"
    assert left == jobs[: len(left)], "an older job was lost than one that was kept"
    assert len(left) >= 20
    assert real_deployment.entries() == len(left)
    assert {record_of(job).state for job in left} == {JobState.CREATED}
    real_deployment.start_worker()
    assert_invariants(check_invariants(real_deployment, acknowledged=[job.id for job in left]))
    # A lost job can be enqueued again.
    again = real_deployment.enqueue(id=jobs[-1].id)
    assert again.created
    assert_invariants(check_invariants(real_deployment, acknowledged=[again.id]))
