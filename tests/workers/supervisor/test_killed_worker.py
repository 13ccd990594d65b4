"""A worker process that is killed: its whole tree is killed, no other process is, and it is replaced."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from oneshot_queue import JobState
from oneshot_queue.outcomes import Cause
from oneshot_queue.pidfd import pidfd_open
from tests.support import half_dead
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of, until_state
from tests.support.faults import states_of_threads, without_descriptors
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker, words_of
from tests.support.waiting import LIMIT_S, wait_until
from tests.support.worker_process import WorkerProcess

IMPATIENT = (sys.executable, "-P", str(Path(__file__).with_name("impatient_supervisor.py")))
CROWDED = (sys.executable, "-P", str(Path(__file__).with_name("crowded_worker.py")))


def a_tree(marker: ProcessMarker) -> str:
    """Return a shell command that runs five processes, each detached from its job in a different way."""
    return (
        f"setsid {marker.sleep} & (setsid {marker.sleep} & ) & (env -i setsid {marker.sleep} >/dev/null 2>&1 &) ; "
        f"(nohup {marker.sleep} >/dev/null 2>&1 &) ; {marker.sleep}"
    )


def worker_of(deployment: Deployment, job_id: str) -> int:
    """The process id of the worker that runs a job."""

    def found() -> list[int]:
        return [each.pid for each in deployment.queue.workers() if job_id in each.running]

    return wait_until(found, what=f"a worker to show job {job_id}")[0]


def until_replaced(worker: WorkerProcess, killed: int, count: int) -> None:
    """Wait until ``count`` worker processes are running without the killed one, and all of them work."""
    wait_until(
        lambda: worker.pids_of_workers,
        lambda pids: len(pids) == count and killed not in pids,
        what="the worker to be replaced",
    )


@case("P3")
def test_killed_worker_loses_its_whole_tree_within_two_seconds_and_its_sibling_nothing(
    deployment: Deployment, program: tuple[str, ...], layer: str, marker: ProcessMarker, other_marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2, arguments=["--processes", "2"], program=program, until_ready=False)
    worker.wait_for("worker ", times=2)
    doomed = deployment.enqueue(a_tree(marker))
    wait_until(marker.alive, lambda seen: len(seen) == 5, what="all processes of the job")
    spared = deployment.enqueue(a_tree(other_marker))
    wait_until(other_marker.alive, lambda seen: len(seen) == 5, what="all processes of the other job")
    victim, sibling = worker_of(deployment, doomed.id), worker_of(deployment, spared.id)
    assert victim != sibling
    assert {each.layer for each in deployment.queue.workers()} == {layer}

    os.kill(victim, signal.SIGKILL)
    wait_until(marker.alive, lambda seen: not seen, what="the tree of the killed worker to end", limit_s=2.0)

    worker.wait_for("died (signal 9); replacing it now")
    until_replaced(worker, victim, 2)
    worker.wait_for("worker ", times=3)
    assert len(other_marker.alive()) == 5
    assert record_of(spared).state is JobState.RUNNING
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED
    assert spared.interrupt().state is JobState.INTERRUPTED
    assert other_marker.alive() == []
    worker.stop()


@pytest.mark.thorough
def test_killed_worker_leaves_no_process_that_goes_on_without_its_main_thread(
    deployment: Deployment, program: tuple[str, ...], tmp_path: Path
) -> None:
    said = tmp_path / "pid"
    worker = deployment.start_worker(program=program)
    job = deployment.enqueue(f"(setsid {half_dead.PROGRAM} {said} </dev/null >/dev/null 2>&1 &); sleep 300")
    wait_until(said.exists, what="the main thread to have exited")
    pid = int(said.read_text())
    assert words_of(pid, "cmdline"), "the fault did not happen: it is dead"

    os.kill(worker.worker_pid, signal.SIGKILL)

    assert job.wait(timeout=limit_s(20)).cause is Cause.WORKER_LOST
    assert record_of(job).is_confirmed
    assert words_of(pid, "cmdline") == []
    worker.stop()


def test_worker_is_replaced_although_the_state_folder_was_removed(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker()
    job = deployment.enqueue(marker.sleep)
    wait_until(marker.alive, what="the sleeper")

    shutil.rmtree(deployment.state_folder)
    os.kill(worker.worker_pid, signal.SIGKILL)

    assert job.wait(timeout=limit_s(20)).cause is Cause.WORKER_LOST
    assert marker.alive() == []
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED
    worker.stop()


@pytest.mark.thorough
def test_lone_worker_that_a_job_has_stopped_is_killed_and_replaced(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    deployment.tune(lease_s=2.0)
    worker = deployment.start_worker(program=IMPATIENT)
    stopped = worker.worker_pid
    job = deployment.enqueue(f"kill -STOP $PPID; {marker.sleep}")
    wait_until(partial(states_of_threads, stopped), {"T"}.__eq__, what="the worker to stand still")

    assert job.wait(timeout=limit_s(20)).cause is Cause.WORKER_LOST
    worker.wait_for("stopped by a signal")
    assert record_of(job).is_confirmed
    assert marker.alive() == []
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED
    assert deployment.witness.times("start")[job.id] == 1
    worker.stop()


@pytest.mark.thorough
def test_supervisor_without_descriptors_keeps_its_workers_and_cleans_up_later(
    deployment: Deployment, program: tuple[str, ...], marker: ProcessMarker, other_marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2, arguments=["--processes", "2"], program=program, until_ready=False)
    worker.wait_for("worker ", times=2)
    doomed = deployment.enqueue(a_tree(marker))
    wait_until(marker.alive, lambda seen: len(seen) == 5, what="all processes of the job")
    spared = deployment.enqueue(a_tree(other_marker))
    wait_until(other_marker.alive, lambda seen: len(seen) == 5, what="all processes of the other job")
    victim = worker_of(deployment, doomed.id)

    with without_descriptors(worker.pid):
        os.kill(victim, signal.SIGKILL)
        worker.wait_for("the supervisor cannot inspect processes, retrying")
        worker.wait_for("cannot be started, retrying: Too many open files", times=2)
        assert len(other_marker.alive()) == 5

    wait_until(marker.alive, lambda seen: not seen, what="the tree of the killed worker to end")
    assert doomed.wait(timeout=limit_s(20)).cause is Cause.WORKER_LOST
    assert len([line for line in worker.lines if "cannot inspect processes" in line]) == 1
    until_replaced(worker, victim, 2)
    assert len(other_marker.alive()) == 5
    assert spared.interrupt().state is JobState.INTERRUPTED
    worker.stop()


@pytest.mark.thorough
def test_worker_that_keeps_dying_is_replaced_after_growing_delays(deployment: Deployment) -> None:
    worker = deployment.start_worker()

    first = worker.worker_pid
    os.kill(first, signal.SIGKILL)
    until_replaced(worker, first, 1)
    second = worker.worker_pid
    os.kill(second, signal.SIGKILL)

    worker.wait_for("died (signal 9); replacing it now")
    worker.wait_for("died (signal 9); replacing it in 1 s")
    until_replaced(worker, second, 1)
    worker.stop()


def test_supervisor_that_waits_to_replace_a_worker_stops_at_once(deployment: Deployment) -> None:
    worker = deployment.start_worker()
    first = worker.worker_pid
    os.kill(first, signal.SIGKILL)
    until_replaced(worker, first, 1)
    os.kill(worker.worker_pid, signal.SIGKILL)
    worker.wait_for("replacing it in 1 s")

    worker.stop()


def test_stop_that_does_not_fit_into_the_channel_is_sent_again(deployment: Deployment) -> None:
    worker = deployment.start_worker(program=CROWDED)

    worker.signal(signal.SIGTERM)

    worker.wait_for("there was no room")
    assert worker.wait() == 0


def test_worker_process_that_an_operator_stops_drains_and_is_not_replaced(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=2, arguments=["--processes", "2"], until_ready=False)
    worker.wait_for("worker ", times=2)
    asked, other = worker.pids_of_workers

    os.kill(asked, signal.SIGTERM)
    wait_until(lambda: worker.pids_of_workers, lambda pids: pids == [other], what="the worker to end")

    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED
    assert worker.pids_of_workers == [other]
    os.kill(other, signal.SIGTERM)
    assert worker.wait() == 0


@case("P4")
def test_killed_supervisor_takes_its_workers_and_their_jobs_with_it(
    deployment: Deployment, program: tuple[str, ...], marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2, arguments=["--processes", "2"], program=program, until_ready=False)
    worker.wait_for("worker ", times=2)
    jobs = [deployment.enqueue(a_tree(marker)) for _ in range(2)]
    wait_until(marker.alive, lambda seen: len(seen) == 10, what="all processes of the jobs")
    workers = [pidfd_open(pid) for pid in worker.pids_of_workers]

    worker.signal(signal.SIGKILL)
    worker.wait()

    wait_until(marker.alive, lambda seen: not seen, what="the jobs to end")
    outcomes = [job.wait(timeout=limit_s(20)) for job in jobs]
    assert [(outcome.state, outcome.cause) for outcome in outcomes] == [(JobState.FAILED, Cause.WORKER_LOST)] * 2
    assert all("lost its supervisor" in (outcome.error or "") for outcome in outcomes)
    wait_until(lambda: deployment.queue.workers() == [], what="the workers to deregister")
    for pidfd in workers:
        assert select.select([pidfd], [], [], LIMIT_S)[0] == [pidfd]
        os.close(pidfd)
    assert deployment.leases() == set()


def test_job_whose_worker_lost_its_supervisor_is_retried_if_it_asked_for_that(
    deployment: Deployment, marker: ProcessMarker, other_marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2)
    retried = deployment.enqueue(marker.sleep, retries=1, retry_on=["worker_lost"], retry_delay=300)
    plain = deployment.enqueue(other_marker.sleep, retries=1, retry_on=["exit"])
    for each in (marker, other_marker):
        wait_until(each.alive, what="a job's process")

    worker.signal(signal.SIGKILL)
    worker.wait()

    outcome = plain.wait(timeout=limit_s(20))
    assert (outcome.state, outcome.cause, outcome.attempt) == (JobState.FAILED, Cause.WORKER_LOST, 1)
    waiting = wait_until(lambda: record_of(retried), lambda record: record.attempt == 2, what="the retry")
    assert waiting.state is JobState.CREATED
    assert marker.alive() == other_marker.alive() == []


@pytest.mark.thorough
def test_interrupt_on_record_wins_over_the_loss_of_the_supervisor(deployment: Deployment, tmp_path: Path) -> None:
    trapped = tmp_path / "trapped"
    worker = deployment.start_worker()
    job = deployment.enqueue(f"trap 'touch {trapped}' TERM; while :; do sleep 0.05; done", grace=5.0)
    until_state(job, JobState.RUNNING)
    wait_until(lambda: deployment.witness.times("start")[job.id] == 1, what="the job to run")
    deployment.queue.interrupt([job.id], confirm=False)
    wait_until(trapped.exists, what="the job to be interrupted")

    worker.signal(signal.SIGKILL)
    worker.wait()

    outcome = job.wait(timeout=limit_s(20))
    assert (outcome.state, outcome.cause) == (JobState.INTERRUPTED, Cause.INTERRUPTED)


@pytest.mark.thorough
def test_worker_that_does_not_exit_when_told_to_kill_is_killed_with_its_tree(
    deployment: Deployment, program: tuple[str, ...], marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(program=program)
    deployment.enqueue(a_tree(marker))
    wait_until(marker.alive, lambda seen: len(seen) == 5, what="all processes of the job")
    os.kill(worker.worker_pid, signal.SIGSTOP)

    # Signals of the same kind that arrive together count as one.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        worker.signal(number)
    began = time.monotonic()

    assert worker.wait() == 0
    assert 2 < time.monotonic() - began < 6
    assert marker.alive() == []
