"""Each place where a worker can be made to die is reached by a real one, and whatever it ran is not started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.evidence import Evidence
from tests.faults.invariants import judge
from tests.integration.deployment import Deployment
from tests.waiting import wait_until
from workers.crash_points import POINTS


@pytest.mark.thorough
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_dies_where_it_was_told_to_and_no_job_starts_twice(
    own_deployment: Deployment, tmp_path: Path, point: str
) -> None:
    own_deployment.tune(lease_s=1.2)
    crash = tmp_path / "crashed"
    variables = {"ONESHOT_TEST_FAULTS": "1", "ONESHOT_CRASH_AT": point, "ONESHOT_CRASH_MARK": str(crash)}
    worker = own_deployment.start_worker(concurrency=2, environment=variables, until_ready=False)
    # Nothing that outlives this test, whoever ends it.
    interrupted = own_deployment.enqueue("sleep 1", id="interrupted")
    own_deployment.enqueue("sleep 0.1")
    if point == "before_signal":
        own_deployment.witness.until("start", interrupted.id)
        own_deployment.queue.interrupt([interrupted.id], confirm=False)

    wait_until(crash.exists, what=f"the worker to die at {point}")
    worker.kill()
    own_deployment.start_worker(arguments=["--burst"]).wait()

    verdict = judge(Evidence(heard=own_deployment.witness.heard()))
    assert verdict.violations == []
