"""A worker that is asked to stop drains; asked twice, it interrupts; asked three times, it kills. No orphan is left."""

from __future__ import annotations

import os
import signal
import time

import pytest

from oneshot_queue import Cause, JobState
from oneshot_queue.workers.worker.services.claimer import BELL_S
from tests.integration.scripts import ignores_sigterm
from tests.support.cases import case
from tests.support.deployment import Deployment, assert_left_no_trace, history_of, record_of
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until


@case("P14")
def test_worker_asked_once_drains_and_leaves_no_trace(
    deployment: Deployment,
) -> None:
    worker = deployment.start_worker(concurrency=2)
    gate = deployment.witness.path.with_name("gate")
    running = [deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo done") for _ in range(2)]
    deployment.witness.until_count("start", 2)
    assert worker.worker_pid in {each.pid for each in deployment.queue.workers()}

    worker.signal(signal.SIGTERM)
    worker.wait_for("stopping: 30 s for 2 jobs to end")
    waiting = deployment.enqueue()
    gate.touch()

    assert worker.wait() == 0
    assert {record_of(job).state for job in running} == {JobState.COMPLETED}
    assert record_of(waiting).state is JobState.CREATED
    assert deployment.witness.times("start") == {job.id: 1 for job in running}
    assert_left_no_trace(deployment, worker)


@pytest.mark.thorough
@case("P14")
@pytest.mark.parametrize(
    "asked", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)], ids=["SIGTERM", "SIGINT"]
)
def test_worker_asked_twice_interrupts_its_jobs(
    deployment: Deployment, marker: ProcessMarker, asked: tuple[signal.Signals, ...]
) -> None:
    worker = deployment.start_worker(concurrency=2)
    jobs = [deployment.enqueue(f"{marker.sleep} & setsid {marker.sleep} & {marker.sleep}") for _ in range(2)]
    wait_until(marker.alive, lambda seen: len(seen) == 6, what="all processes of the jobs")

    worker.signal(asked[0])
    worker.wait_for("for 2 jobs to end")
    assert len(marker.alive()) == 6
    worker.signal(asked[1])

    assert worker.wait() == 0
    assert marker.alive() == []
    worker.wait_for("interrupting 2 jobs")
    for job in jobs:
        record = record_of(job)
        assert (record.state, record.cause, record.signal) == (
            JobState.INTERRUPTED,
            Cause.INTERRUPTED,
            signal.SIGTERM,
        )
    assert_left_no_trace(deployment, worker)


@case("P14")
def test_worker_asked_three_times_kills_its_jobs_and_exits_at_once(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2)
    job = deployment.enqueue(ignores_sigterm(deployment, marker), grace=300)
    assert next(job.output(follow=True)).data == b"ready\n"

    # Each signal counts: from a supervisor, from Ctrl-C, or from a closing terminal.
    worker.signal(signal.SIGINT)
    worker.wait_for("for 1 job to end")
    wait_until(
        lambda: [each.may_take() for each in deployment.queue.workers()] == [False], what="the drain to be shown"
    )
    worker.signal(signal.SIGTERM)
    deployment.witness.until("asked", job.id)
    assert record_of(job).state is JobState.RUNNING
    worker.signal(signal.SIGHUP)
    began = time.monotonic()

    assert worker.wait() == 0
    assert time.monotonic() - began < 10, "it waited for the grace of its job"
    assert marker.alive() == []
    assert (record_of(job).state, record_of(job).signal) == (JobState.INTERRUPTED, signal.SIGKILL)
    assert history_of(job) == ["CREATED", "RUNNING", "INTERRUPTED"]
    assert_left_no_trace(deployment, worker)


def test_worker_whose_drain_takes_too_long_interrupts_its_jobs(deployment: Deployment, marker: ProcessMarker) -> None:
    worker = deployment.start_worker(arguments=["--drain-timeout", "0.3"])
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)

    worker.signal()

    assert worker.wait() == 0
    assert marker.alive() == []
    assert record_of(job).state is JobState.INTERRUPTED
    assert_left_no_trace(deployment, worker)


def test_idle_worker_stops_at_once(deployment: Deployment) -> None:
    worker = deployment.start_worker()

    worker.signal()
    began = time.monotonic()

    assert worker.wait() == 0
    assert time.monotonic() - began < BELL_S, "it waited for the doorbell"
    assert_left_no_trace(deployment, worker)


@case("P18")
def test_worker_started_with_signals_ignored_reacts_to_them_and_so_do_its_jobs(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    # As nohup, or & in a shell, starts it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = deployment.start_worker()
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGHUP, before[1])
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)

    report = job.interrupt()
    worker.signal(signal.SIGINT)

    assert report.state is JobState.INTERRUPTED
    assert record_of(job).signal == signal.SIGTERM
    assert worker.wait() == 0


@pytest.mark.thorough
@case("P14")
@pytest.mark.parametrize("absence", ["paused", "stopped"])
def test_worker_stops_while_its_server_is_away(
    own_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, absence: str
) -> None:
    worker = own_deployment.start_worker(concurrency=2)
    job = own_deployment.enqueue(ignores_sigterm(own_deployment, marker), grace=300)
    assert next(job.output(follow=True)).data == b"ready\n"

    fresh_server.pause() if absence == "paused" else fresh_server.stop()
    worker.signal()
    worker.wait_for("for 1 job to end")
    worker.signal()
    own_deployment.witness.until("asked", job.id)
    worker.signal()
    began = time.monotonic()
    code = worker.wait()
    took_s = time.monotonic() - began
    if absence == "paused":
        fresh_server.resume()

    assert code == 0
    assert marker.alive() == []
    assert took_s < 10, "it waited for its server"
    worker.wait_for(f"job {job.id}: its result could not be recorded")


def test_killed_worker_is_not_listed_and_its_job_stays_running_on_record(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(arguments=["--name", "doomed"])
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)

    worker.kill()
    # Its presence would expire by itself after 15 s.
    for name in deployment.key_names():
        if ":worker:" in name:
            deployment.redis.delete(name)
    (report,) = deployment.queue.interrupt([job.id], timeout=0.1)

    assert (report.result, report.state, report.worker) == ("not_confirmed", JobState.RUNNING, None)
    for pid in marker.alive():
        os.kill(pid, signal.SIGKILL)
