"""Many jobs at once."""

from __future__ import annotations

from collections import Counter

import pytest

from oneshot_queue import JobState, SyncJob
from tests.support.deployment import Deployment
from tests.support.waiting import wait_until


@pytest.mark.thorough
def test_thousand_jobs_on_two_workers_start_once_and_both_workers_take_part(deployment: Deployment) -> None:
    workers = [deployment.start_worker(concurrency=4, arguments=["--name", name]) for name in ("one", "two")]

    jobs = deployment.queue.enqueue_many([deployment.witness.command()] * 1000)

    wait_until(deployment.entries, lambda left: left == 0, what="all jobs to end")
    ids = {job.id for job in jobs if isinstance(job, SyncJob)}
    assert len(ids) == 1000
    assert deployment.witness.times("start") == dict.fromkeys(ids, 1)
    assert deployment.witness.times("end") == dict.fromkeys(ids, 1)
    assert len({each.token for each in deployment.witness.of("start")}) == 1000
    assert deployment.pending() == {}
    (counts,) = deployment.queue.queues()
    assert {state: count for state, count in counts.states.items() if count} == {JobState.COMPLETED: 1000}
    by_worker = Counter(job.record.worker for job in deployment.queue.list(limit=1000) if job.record)
    assert set(by_worker) == {"one", "two"}
    assert min(by_worker.values()) > 100
    for worker in workers:
        worker.stop()
    assert deployment.leases() == deployment.consumers() == set()


def test_two_hundred_silent_jobs_need_little_memory(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=200)
    before = worker.rss_bytes

    jobs = deployment.queue.enqueue_many([["sleep", "300"]] * 200)
    wait_until(
        lambda: deployment.queue.queues()[0].states[JobState.RUNNING], lambda count: count == 200, what="all to run"
    )
    worker.wait_until_idle()
    after = worker.rss_bytes

    assert after - before < 200 * 200_000
    ids = [job.id for job in jobs if isinstance(job, SyncJob)]
    reports = deployment.queue.interrupt(ids)
    assert {report.state for report in reports} == {JobState.INTERRUPTED}
    worker.stop()
