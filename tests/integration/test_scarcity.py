"""A worker without resources fails no job: jobs wait, and run when they can."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from oneshot_queue import JobState
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of, until_state
from tests.support.waiting import TIMEOUT_S


@pytest.mark.thorough
@case("P10")
def test_job_returns_uncounted_while_its_worker_has_no_descriptors_and_runs_later(
    deployment: Deployment,
) -> None:
    worker = deployment.start_worker(concurrency=2)
    deployment.enqueue().wait(timeout=TIMEOUT_S)
    limits = resource.prlimit(worker.worker_pid, resource.RLIMIT_NOFILE)
    open_now = len(list(Path(f"/proc/{worker.worker_pid}/fd").iterdir()))

    resource.prlimit(worker.worker_pid, resource.RLIMIT_NOFILE, (open_now, limits[1]))
    job = deployment.enqueue("echo ran")
    worker.wait_for("cannot be started yet")
    record = until_state(job, JobState.CREATED)
    starts = deployment.witness.of("start", job.id)
    resource.prlimit(worker.worker_pid, resource.RLIMIT_NOFILE, limits)

    assert (record.attempt, starts) == (1, [])
    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert deployment.witness.times("start")[job.id] == 1
    assert [(row.state, row.cause) for row in record_of(job).history][:3] == [
        (JobState.CREATED, None),
        (JobState.RUNNING, None),
        (JobState.CREATED, "postponed"),
    ]
    assert deployment.redis.hget(deployment.keys.job(job.id), "returns") is None
    worker.stop()


def test_job_that_returned_to_its_queue_can_be_interrupted(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=2)
    deployment.enqueue().wait(timeout=TIMEOUT_S)
    limits = resource.prlimit(worker.worker_pid, resource.RLIMIT_NOFILE)
    open_now = len(list(Path(f"/proc/{worker.worker_pid}/fd").iterdir()))
    resource.prlimit(worker.worker_pid, resource.RLIMIT_NOFILE, (open_now, limits[1]))
    job = deployment.enqueue()
    worker.wait_for("cannot be started yet")

    report = job.interrupt()
    resource.prlimit(worker.worker_pid, resource.RLIMIT_NOFILE, limits)

    assert report.state is JobState.INTERRUPTED
    assert deployment.witness.of("start", job.id) == []
    worker.stop()


@case("P15")
def test_many_jobs_leave_no_descriptor_thread_or_zombie_behind(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=4)
    process = Path(f"/proc/{worker.worker_pid}")

    def opened() -> int:
        # The number of sockets depends on the load; pipes and pidfds belong to jobs.
        return len([fd for fd in (process / "fd").iterdir() if not _target(fd).startswith("socket:")])

    for _ in range(20):
        deployment.enqueue().wait(timeout=TIMEOUT_S)
    before = opened()

    jobs = deployment.queue.enqueue_many([["true"]] * 200)
    for each in jobs:
        assert not isinstance(each, Exception)
        each.wait(timeout=TIMEOUT_S)

    assert opened() == before
    assert len(list((process / "task").iterdir())) == 1
    assert (process / "task" / str(worker.worker_pid) / "children").read_text().split() == []
    worker.stop()


def _target(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except FileNotFoundError:
        return "socket: (closed meanwhile)"
