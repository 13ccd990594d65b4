"""A live worker gets the jobs of a dead one, with what is known about their results."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from oneshot_queue import JobState
from oneshot_queue.outcomes import Cause
from oneshot_queue.workers.ipc.journal_format import SlotState, read_journal
from tests.support.deployment import Deployment, record_of
from tests.support.faults import frozen, kill_process, states_of_threads, without_descriptors
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until
from tests.support.worker_process import PROGRAM, WorkerProcess

HELPLESS = (sys.executable, "-P", str(Path(__file__).with_name("helpless_supervisor.py")))
RECOVERING = (sys.executable, "-P", str(Path(__file__).with_name("recovering_worker.py")))


def folders(deployment: Deployment) -> list[str]:
    return sorted(path.name for path in deployment.state_folder.glob("oneshot-queue/workers/*"))


def victim_of(worker: WorkerProcess, deployment: Deployment, job_id: str) -> tuple[int, str]:
    """The process id and the id of the worker that runs a job."""
    shown = wait_until(
        lambda: [each for each in deployment.queue.workers() if job_id in each.running], what="the job to be shown"
    )
    assert shown[0].pid in worker.pids_of_workers
    return shown[0].pid, shown[0].id


def until_exited(pid: int) -> None:
    """Wait until a process that is not reaped has exited."""
    wait_until(lambda: states_of_threads(pid), lambda states: not states, what="the process to exit")
    assert Path(f"/proc/{pid}").exists()


@pytest.mark.thorough
def test_job_of_a_killed_worker_is_handed_to_the_next_without_an_exit_status(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=1, program=RECOVERING)
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)
    pid, worker_id = victim_of(worker, deployment, job.id)

    os.kill(pid, signal.SIGKILL)

    line = worker.wait_for(f"dead worker {worker_id}")
    assert f"{job.id} RUNNING None in {deployment.state_folder}" in line
    assert marker.alive() == []
    wait_until(lambda: folders(deployment), lambda names: worker_id not in names, what="its folder to be removed")
    assert len(folders(deployment)) == 1
    worker.stop()
    assert folders(deployment) == []


def test_exit_status_that_a_worker_had_read_before_it_died_is_the_result_of_its_job(deployment: Deployment) -> None:
    worker = deployment.start_worker(
        concurrency=1, environment={"ONESHOT_TEST_FAULTS": "1", "ONESHOT_CRASH_AT": "after_exit"}
    )

    outcome = deployment.enqueue("exit 7").wait(timeout=limit_s(20))

    assert (outcome.state, outcome.cause, outcome.exit_code) == (JobState.FAILED, Cause.EXIT, 7)
    assert "died before its result was recorded" in str(outcome.error)
    worker.stop()


def test_job_that_ends_because_its_worker_died_is_lost_whatever_its_exit_status(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=3)
    # Each runs until nothing reads its output, and then exits in its own way.
    loop = "while echo on; do :; done 2>/dev/null"
    jobs = [deployment.enqueue(script) for script in (loop, f"trap '' PIPE; {loop}; exit 3", f"trap '' PIPE; {loop}")]
    leaders = [deployment.witness.until("start", job.id).pid for job in jobs]

    with frozen(worker.pid):
        os.kill(worker.worker_pid, signal.SIGKILL)
        for leader in leaders:
            until_exited(leader)

    assert [job.wait(timeout=limit_s(20)).cause for job in jobs] == [Cause.WORKER_LOST] * 3
    assert [record_of(job).is_confirmed for job in jobs] == [True] * 3
    worker.stop()


@pytest.mark.thorough
def test_job_whose_processes_cannot_be_killed_records_survivors_and_is_not_retried(
    deployment: Deployment, marker: ProcessMarker, other_marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2, program=HELPLESS)
    scripts = marker.sleep, f"[ $ONESHOT_ATTEMPT = 2 ] || exec {other_marker.sleep}"
    resisting, other = (
        deployment.enqueue(script, retries=1, retry_on=["worker_lost"], retry_delay=0.1) for script in scripts
    )
    for found in (marker, other_marker):
        wait_until(found.alive, what="both to run")

    with frozen(worker.worker_pid):
        kill_process(*other_marker.alive())
        os.kill(worker.worker_pid, signal.SIGKILL)

    outcome = resisting.wait(timeout=limit_s(20))
    assert (outcome.state, outcome.cause, outcome.attempt) == (JobState.FAILED, Cause.WORKER_LOST, 1)
    # The shell and its child.
    assert record_of(resisting).survivors == 2
    assert marker.alive()
    assert other.wait(timeout=limit_s(20)).state is JobState.COMPLETED
    assert deployment.witness.times("start") == {resisting.id: 1, other.id: 2}
    worker.stop()
    for pid in marker.alive():
        kill_process(pid)


def test_job_whose_processes_the_next_start_cannot_kill_records_survivors_and_is_not_retried(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    killed = deployment.start_worker(program=HELPLESS)
    job = deployment.enqueue(marker.sleep, retries=1, retry_on=["worker_lost"], retry_delay=0.1)
    wait_until(marker.alive, what="it to run")

    killed.kill()
    worker = deployment.start_worker(program=HELPLESS)

    outcome = job.wait(timeout=limit_s(20))
    assert (outcome.state, outcome.cause, outcome.attempt) == (JobState.FAILED, Cause.WORKER_LOST, 1)
    # The shell and its child.
    assert record_of(job).survivors == 2
    assert marker.alive()
    assert deployment.witness.times("start") == {job.id: 1}
    worker.stop()
    for pid in marker.alive():
        kill_process(pid)


def test_dead_worker_is_recovered_by_the_next_one_if_its_first_recoverer_dies(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    arguments = ["--processes", "2"]
    worker = deployment.start_worker(concurrency=2, program=RECOVERING, arguments=arguments, until_ready=False)
    worker.wait_for("worker ", times=2)
    jobs = [deployment.enqueue(marker.sleep) for _ in range(2)]
    deployment.witness.until_count("start", 2)
    shown = {each.process: each for each in deployment.queue.workers()}

    os.kill(shown[2].pid, signal.SIGKILL)
    # The first dies while it recovers the second. Then the replacement of the second recovers both.
    for each in shown.values():
        worker.wait_for(f"dead worker {each.id}")
    wait_until(lambda: folders(deployment), lambda names: not {each.id for each in shown.values()} & set(names))

    assert marker.alive() == []
    assert len(jobs) == 2
    worker.signal(signal.SIGTERM)
    worker.wait()


@pytest.mark.thorough
def test_dead_worker_that_a_worker_has_no_descriptor_for_is_recovered_by_another(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2, arguments=["--processes", "2"], until_ready=False)
    worker.wait_for("worker ", times=2)
    jobs = {job.id: job for job in (deployment.enqueue(marker.sleep) for _ in range(2))}
    deployment.witness.until_count("start", 2)
    shown = wait_until(
        lambda: {each.process: each for each in deployment.queue.workers() if each.running},
        lambda seen: len(seen) == 2,
        what="both to show their jobs",
    )
    lost, spared = (jobs[shown[number].running[0]] for number in (2, 1))

    # Until the other is replaced, only the first can recover it.
    with without_descriptors(shown[1].pid):
        os.kill(shown[2].pid, signal.SIGKILL)
        worker.wait_for(f"no file descriptor is free to recover worker {shown[2].id}")
        ended = lost.wait(timeout=limit_s(20))

    assert (ended.state, ended.cause) == (JobState.FAILED, Cause.WORKER_LOST)
    wait_until(lambda: shown[2].id not in folders(deployment), what="its folder to be removed")
    assert shown[1].pid in worker.pids_of_workers
    assert record_of(spared).state is JobState.RUNNING
    assert spared.interrupt().state is JobState.INTERRUPTED
    worker.stop()


@pytest.mark.thorough
def test_dead_worker_that_no_worker_recovers_waits_for_the_next_start(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    stopping = deployment.start_worker(concurrency=1, program=PROGRAM)
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)
    pid, worker_id = victim_of(stopping, deployment, job.id)
    # A supervisor that was asked to stop starts no replacement.
    stopping.signal(signal.SIGTERM)
    stopping.wait_for("for 1 job to end")
    os.kill(pid, signal.SIGKILL)
    stopping.wait()
    assert folders(deployment) == [worker_id]

    worker = deployment.start_worker(concurrency=1, program=RECOVERING)

    assert job.id in worker.wait_for(f"dead worker {worker_id}")
    wait_until(lambda: worker_id not in folders(deployment), what="its folder to be removed")
    worker.stop()


def test_job_is_in_the_journal_from_before_its_start_until_its_result_is_recorded(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=1)
    gate = deployment.witness.path.with_name("gate")
    job = deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done")
    testimony = deployment.witness.until("start", job.id)
    (name,) = folders(deployment)
    journal = deployment.state_folder / "oneshot-queue/workers" / name / "notes"

    (slot,) = wait_until(lambda: read_journal(journal.read_bytes()).slots, lambda slots: slots[0].pid is not None)
    gate.touch()
    job.wait(timeout=limit_s(20))

    assert (slot.state, slot.job_id, slot.queue, slot.attempt) == (SlotState.RUNNING, job.id, deployment.queue_name, 1)
    assert (slot.token, slot.pid) == (testimony.token, testimony.pid)
    wait_until(lambda: read_journal(journal.read_bytes()).slots == (), what="the slot to be free")
    assert read_journal(journal.read_bytes()).jobs_taken == 1
    worker.stop()
