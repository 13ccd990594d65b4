"""Wherever a worker dies between claim and result, each of its jobs is settled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState
from oneshot_queue.workers.engine.crash_points import POINTS
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.markers import ProcessMarker

NEVER_STARTED = {"after_claim", "before_spawn"}
# There is only one interrupt, so this point is not reached three times.
CRASHES = [
    *((point, 1) for point in POINTS),
    *(pytest.param(point, 3, marks=pytest.mark.thorough) for point in POINTS if point != "before_signal"),
]


@pytest.mark.thorough
@case("D2")
@pytest.mark.parametrize(("point", "times"), CRASHES)
def test_jobs_of_a_worker_that_dies_at_any_point_are_settled_once(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker, tmp_path: Path, point: str, times: int
) -> None:
    own_deployment.tune(lease_s=3.0)
    crash = tmp_path / "crashed"
    own_deployment.start_worker(
        concurrency=2,
        environment={
            "ONESHOT_TEST_FAULTS": "1",
            "ONESHOT_CRASH_AT": f"{point}:{times}",
            "ONESHOT_CRASH_MARK": str(crash),
        },
    )
    interrupted = own_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}", id="interrupted")
    jobs = [own_deployment.enqueue("sleep 0.4; echo token=$ONESHOT_TOKEN", id=f"job-{each}") for each in range(8)]
    if point == "before_signal":
        # A job that is interrupted before its start gets no signal.
        own_deployment.witness.until("start", interrupted.id)
    own_deployment.queue.interrupt([interrupted.id], confirm=False)

    ids = [interrupted.id, *(job.id for job in jobs)]
    verdict = check_invariants(
        own_deployment, acknowledged=ids, interrupted=[interrupted.id], watcher=watcher, strays=marker.alive
    )

    assert crash.exists(), "the fault did not happen"
    assert_invariants(verdict)
    assert record_of(interrupted).state is JobState.INTERRUPTED
    records = [record_of(job) for job in jobs]
    lost = [each for each in records if each.cause is Cause.WORKER_LOST]
    assert {(each.state, each.cause) for each in records if each not in lost} <= {(JobState.COMPLETED, Cause.EXIT)}
    if point in NEVER_STARTED:
        # The job that ran beside it may be lost; the one that never started is not.
        assert len(lost) < 2
