"""Workers that are replaced one after the other: no job fails or starts twice."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from oneshot_queue import Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.deployment import Deployment, record_of
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_no_job_fails_or_starts_twice_while_four_workers_are_restarted_under_load(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    workers = [own_deployment.start_worker(concurrency=2) for _ in range(4)]
    over, jobs = threading.Event(), []

    def produce() -> None:
        argv = own_deployment.witness.command("sleep 0.2; echo token=$ONESHOT_TOKEN")
        with own_deployment.new_client() as queue:
            while not over.wait(0.03):
                jobs.append(queue.enqueue(argv).id)

    with ThreadPoolExecutor(1) as threads:
        producing = threads.submit(produce)
        try:
            own_deployment.witness.until_count("end", 8)
            for former in workers:
                running = len(own_deployment.witness.of("start"))
                former.signal(signal.SIGTERM)
                assert former.wait() == 0
                own_deployment.start_worker(concurrency=2)
                own_deployment.witness.until_count("start", running + 8)
        finally:
            over.set()
        producing.result(timeout=TIMEOUT_S)

    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, watcher=watcher, strays=marker.alive))
    assert len(jobs) >= 40
    assert {record_of(own_deployment.queue.get(each)).state for each in jobs} == {JobState.COMPLETED}
    assert own_deployment.witness.times("start") == dict.fromkeys(jobs, 1)


def test_jobs_that_outlast_the_drain_are_interrupted_or_retried_at_once_if_they_allow_it(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    draining = own_deployment.start_worker(concurrency=2, arguments=["--drain-timeout", "0.3"])
    script = f'[ "$ONESHOT_ATTEMPT" = 2 ] && exit; setsid {marker.sleep} & {marker.sleep}'
    # This delay must not apply to a job that is requeued by a drain.
    requeued = own_deployment.enqueue(script, retries=1, retry_on=["worker_lost"], retry_delay=300)
    interrupted = own_deployment.enqueue(script, retries=1, retry_on=["exit"])
    wait_until(marker.alive, lambda seen: len(seen) == 4, what="all sleepers")
    own_deployment.start_worker(concurrency=1)

    draining.signal(signal.SIGTERM)
    assert draining.wait() == 0

    assert marker.alive() == []
    ids = [requeued.id, interrupted.id]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, watcher=watcher, strays=marker.alive))
    records = [record_of(requeued), record_of(interrupted)]
    assert [(each.state, each.cause, each.attempt) for each in records] == [
        (JobState.COMPLETED, Cause.EXIT, 2),
        (JobState.INTERRUPTED, Cause.INTERRUPTED, 1),
    ]
