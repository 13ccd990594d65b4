"""A worker that dies or is frozen leaves no process, and each of its jobs is settled once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState, Priority
from oneshot_queue.workers.ipc.journal_format import HEADER_BYTES, LEASE_BYTES, boot_id, read_journal
from oneshot_queue.workers.processes.procfs import children_of
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.faults import frozen, kill_process, states_of_threads
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until


@case("P3")
def test_killed_worker_leaves_no_process_after_two_seconds(own_deployment: Deployment, marker: ProcessMarker) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    scripts = [
        f"{marker.sleep} & {marker.sleep}",
        f"setsid {marker.sleep} & {marker.sleep}",
        f"(setsid sh -c '({marker.sleep} &)' &); {marker.sleep}",
        f"setsid env -i {marker.sleep} & {marker.sleep}",
    ]
    jobs = [own_deployment.enqueue(script) for script in scripts]
    wait_until(marker.alive, lambda seen: len(seen) == 8, what="all sleepers")

    kill_process(worker.pids_of_workers[0])

    wait_until(marker.alive, lambda left: not left, what="all processes to be gone", limit_s=2.0)
    ids = [job.id for job in jobs]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, strays=marker.alive))
    assert {(record_of(job).state, record_of(job).cause) for job in jobs} == {(JobState.FAILED, Cause.WORKER_LOST)}


@case("N11")
def test_interrupted_job_whose_worker_dies_before_it_acts_ends_interrupted(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.tune(lease_s=3.0)
    worker = own_deployment.start_worker()
    job = own_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}")
    own_deployment.witness.until("start", job.id)

    (pid,) = worker.pids_of_workers
    with frozen(pid):
        own_deployment.queue.interrupt([job.id], confirm=False)
        kill_process(pid)

    assert_invariants(
        check_invariants(
            own_deployment, acknowledged=[job.id], interrupted=[job.id], watcher=watcher, strays=marker.alive
        )
    )
    assert record_of(job).state is JobState.INTERRUPTED


@pytest.mark.thorough
@case("D4")
@pytest.mark.timeout(120)
def test_worker_that_wakes_after_its_lease_is_fenced_and_ends_its_jobs(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.tune(lease_s=3.0)
    sleeper = own_deployment.start_worker(concurrency=2)
    job = own_deployment.enqueue(f"echo token=$ONESHOT_TOKEN; setsid {marker.sleep} & {marker.sleep}")
    own_deployment.witness.until("start", job.id)
    own_deployment.start_worker(concurrency=2)

    with frozen(*sleeper.pids_of_workers):
        wait_until(lambda: record_of(job), lambda seen: seen.state.is_final, what="the job to be settled")
        assert marker.alive(), "the fault did not happen: the frozen worker's processes are gone"

    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id], watcher=watcher, strays=marker.alive))
    assert (record_of(job).state, record_of(job).cause) == (JobState.FAILED, Cause.WORKER_LOST)
    after = own_deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED


@pytest.mark.thorough
@case("D4")
@pytest.mark.timeout(120)
def test_worker_frozen_between_claim_and_start_starts_no_job_that_was_settled_meanwhile(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.tune(lease_s=3.0)
    stopper = own_deployment.enqueue("kill -STOP $PPID", priority="high")
    # No retries: to end a retried job in time, the supervisor may have to kill the worker.
    jobs = [own_deployment.enqueue() for _ in range(40)]
    sleeper = own_deployment.start_worker(concurrency=41)
    own_deployment.witness.until("start", stopper.id)
    (pid,) = sleeper.pids_of_workers
    wait_until(lambda: states_of_threads(pid), {"T"}.__eq__, what="the worker to stop")
    # The started commands have ended; the frozen worker does not reap them.
    wait_until(lambda: {state for child in children_of(pid) for state in states_of_threads(child)}, set().__eq__)
    claimed = {job.id for job in jobs if record_of(job).state is JobState.RUNNING}

    own_deployment.start_worker(concurrency=41)
    wait_until(lambda: all(record_of(job).state.is_final for job in jobs), what="all jobs to be settled")
    unstarted = claimed - first_starts(own_deployment)
    assert len(unstarted) > 1, "the fault did not happen: all claimed jobs had been started"
    os.kill(pid, signal.SIGCONT)

    sleeper.wait_for("is lost; ending its jobs")
    ids = [stopper.id, *(job.id for job in jobs)]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, watcher=watcher, strays=marker.alive))
    # It may have been stopped right between its last check of the lease and a start.
    assert len(unstarted & first_starts(own_deployment)) <= 1


def first_starts(deployment: Deployment) -> set[str]:
    """The jobs whose first attempt has started."""
    return {each.job_id for each in deployment.witness.of("start") if each.attempt == 1}


@case("D16")
def test_jobs_of_a_killed_worker_are_settled_once_when_it_restarts_under_its_name(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.tune(lease_s=3.0)
    former = own_deployment.start_worker(concurrency=2, arguments=["--name", "same"])
    running = [own_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}") for _ in range(2)]
    waiting = [own_deployment.enqueue() for _ in range(5)]
    wait_until(marker.alive, lambda seen: len(seen) == 4, what="all sleepers")

    former.kill()
    assert marker.alive(), "the fault did not happen: the processes of the killed worker are gone"
    own_deployment.start_worker(concurrency=2, arguments=["--name", "same"])

    ids = [job.id for job in (*running, *waiting)]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, watcher=watcher, strays=marker.alive))
    assert {(record_of(job).state, record_of(job).cause) for job in running} == {(JobState.FAILED, Cause.WORKER_LOST)}
    assert {record_of(job).state for job in waiting} == {JobState.COMPLETED}
    assert own_deployment.witness.times("start") == dict.fromkeys(ids, 1)


@pytest.mark.thorough
@case("D15")
@pytest.mark.timeout(120)
def test_job_of_a_dead_worker_is_settled_even_without_its_pending_entry(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker, tmp_path: Path
) -> None:
    own_deployment.tune(lease_s=3.0)
    lost_worker = own_deployment.start_worker(concurrency=1)
    running, waiting = own_deployment.enqueue(marker.sleep), own_deployment.enqueue()
    wait_until(marker.alive, what="the sleeper")
    (lease,) = own_deployment.leases()

    dropped = own_deployment.redis.xgroup_delconsumer(own_deployment.keys.ready(Priority.NORMAL), "workers", lease)
    lost_worker.kill()
    assert dropped == 1, "the fault did not happen"
    for pid in marker.alive():
        kill_process(pid)
    # As on another host: no journal and no pending entry tells what the dead worker ran.
    worker = own_deployment.start_worker(concurrency=1, environment={"XDG_STATE_HOME": str(tmp_path / "elsewhere")})

    ids = [running.id, waiting.id]
    assert_invariants(
        check_invariants(own_deployment, acknowledged=ids, watcher=watcher, strays=marker.alive, limit_s=70)
    )
    worker.wait_for(f"marked job {running.id} lost: no worker held it")
    record = record_of(running)
    assert (record.state, record.cause, record.is_confirmed) == (JobState.FAILED, Cause.WORKER_LOST, False)
    assert record_of(waiting).state is JobState.COMPLETED
    worker.stop()


@case("D2")
def test_job_that_a_machine_crash_removed_from_the_journal_is_not_started_again(
    own_deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = own_deployment.start_worker(concurrency=1)
    job = own_deployment.enqueue(marker.sleep)
    own_deployment.witness.until("start", job.id)
    (journal,) = own_deployment.state_folder.glob("oneshot-queue/workers/*/notes")
    worker.kill()
    for pid in marker.alive():
        kill_process(pid)

    # A machine crash loses file contents that did not reach the disk; and the boot id is another one.
    with journal.open("r+b") as file:
        raw = file.read()
        assert [slot.job_id for slot in read_journal(raw).slots] == [job.id]
        file.seek(raw.index(boot_id().encode()))
        file.write(b"0" * len(boot_id()))
        file.seek(HEADER_BYTES + LEASE_BYTES)
        file.write(bytes(len(raw) - HEADER_BYTES - LEASE_BYTES))
    assert read_journal(journal.read_bytes()).slots == ()
    own_deployment.start_worker(concurrency=1)

    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id], strays=marker.alive))
    assert (record_of(job).state, record_of(job).cause) == (JobState.FAILED, Cause.WORKER_LOST)
    assert own_deployment.witness.times("start") == {job.id: 1}
