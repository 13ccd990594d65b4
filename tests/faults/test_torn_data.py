"""A server that died in the middle of a write starts on what is left: a part may be gone, nothing is made up."""

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


def test_of_jobs_whose_last_bytes_are_lost_the_others_are_whole_and_run_once(
    real_deployment: Deployment, fresh_server: ServerProcess, dice: random.Random
) -> None:
    real_deployment.redis.config_set("appendfsync", "always")
    jobs = [real_deployment.enqueue() for _ in range(40)]

    fresh_server.kill()
    cut_aof_tail(fresh_server, dice.randint(1, 2_000))
    fresh_server.start()

    left = [job for job in jobs if is_known(job)]
    assert len(left) < len(jobs), "the fault did not happen: no job was lost"
    assert left == jobs[: len(left)], "a job was lost that was older than one that was not"
    assert len(left) >= 20
    assert real_deployment.entries() == len(left)
    assert {record_of(job).state for job in left} == {JobState.CREATED}
    real_deployment.start_worker()
    assert_invariants(check_invariants(real_deployment, acknowledged=[job.id for job in left]))
    # Whoever enqueued what was lost may do so again.
    again = real_deployment.enqueue(id=jobs[-1].id)
    assert again.created
    assert_invariants(check_invariants(real_deployment, acknowledged=[again.id]))
