"""A worker that dies at any point leaves no process, and each of its jobs is decided once (pending)."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState, Priority
from tests.faults.cases import case
from tests.faults.collecting import check_invariants
from tests.faults.evidence import EndsWatcher
from tests.faults.faults import cut_aof_tail, frozen, kill_process
from tests.faults.fleet import processes_of
from tests.faults.invariants import assert_invariants
from tests.integration.deployment import Deployment, record_of
from tests.marks import Mark
from tests.servers import ServerProcess
from tests.waiting import wait_until
from workers.crash_points import POINTS

NEVER_STARTED = {"after_claim", "before_spawn"}
ENDED = {"after_exit", "before_finish", "after_finish"}


@case("D2")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_worker_that_dies_at_any_point_has_each_job_decided_once(
    own_deployment: Deployment, ends: EndsWatcher, mark: Mark, tmp_path: Path, point: str, times: int
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
    interrupted = own_deployment.enqueue(f"setsid {mark.sleep} & {mark.sleep}", id="interrupted")
    jobs = [own_deployment.enqueue("sleep 0.4; echo token=$ONESHOT_TOKEN", id=f"job-{each}") for each in range(8)]
    own_deployment.queue.interrupt([interrupted.id], confirm=False)

    ids = [interrupted.id, *(job.id for job in jobs)]
    verdict = check_invariants(
        own_deployment, acknowledged=ids, interrupted=[interrupted.id], ends=ends, strays=mark.alive
    )

    if point != "before_signal" or times == 1:
        assert crash.exists(), "the fault did not happen"
    assert_invariants(verdict)
    assert record_of(interrupted).state is JobState.INTERRUPTED
    records = [record_of(job) for job in jobs]
    lost = [each for each in records if each.cause is Cause.WORKER_LOST]
    assert {(each.state, each.cause) for each in records if each not in lost} <= {(JobState.COMPLETED, Cause.EXIT)}
    if point in NEVER_STARTED:
        # What runs beside the one that crashed may be lost; the one that never started is not.
        assert len(lost) < 2


@case("P3")
def test_a_killed_worker_leaves_no_process_within_two_seconds(own_deployment: Deployment, mark: Mark) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    scripts = [
        f"{mark.sleep} & {mark.sleep}",
        f"setsid {mark.sleep} & {mark.sleep}",
        f"(setsid sh -c '({mark.sleep} &)' &); {mark.sleep}",
        f"setsid env -i {mark.sleep} & {mark.sleep}",
    ]
    jobs = [own_deployment.enqueue(script) for script in scripts]
    wait_until(mark.alive, lambda seen: len(seen) == 8, what="all sleepers")

    kill_process(processes_of(worker)[0])

    wait_until(mark.alive, lambda left: not left, what="all processes to be gone", limit_s=2.0)
    ids = [job.id for job in jobs]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, strays=mark.alive))
    assert {(record_of(job).state, record_of(job).cause) for job in jobs} == {(JobState.FAILED, Cause.WORKER_LOST)}


@case("N11")
def test_an_interrupted_job_whose_worker_dies_before_it_acts_ends_interrupted(
    own_deployment: Deployment, ends: EndsWatcher, mark: Mark
) -> None:
    own_deployment.tune(lease_s=3.0)
    worker = own_deployment.start_worker()
    job = own_deployment.enqueue(f"setsid {mark.sleep} & {mark.sleep}")
    own_deployment.witness.until("start", job.id)

    (pid,) = processes_of(worker)
    with frozen(pid):
        own_deployment.queue.interrupt([job.id], confirm=False)
        kill_process(pid)

    assert_invariants(
        check_invariants(own_deployment, acknowledged=[job.id], interrupted=[job.id], ends=ends, strays=mark.alive)
    )
    assert record_of(job).state is JobState.INTERRUPTED


@case("D4")
@pytest.mark.timeout(120)
def test_a_worker_that_wakes_after_its_lease_is_refused_and_ends_what_it_ran(
    own_deployment: Deployment, ends: EndsWatcher, mark: Mark
) -> None:
    own_deployment.tune(lease_s=3.0)
    sleeper = own_deployment.start_worker(concurrency=2)
    job = own_deployment.enqueue(f"echo token=$ONESHOT_TOKEN; setsid {mark.sleep} & {mark.sleep}")
    own_deployment.witness.until("start", job.id)
    own_deployment.start_worker(concurrency=2)

    with frozen(*processes_of(sleeper)):
        wait_until(lambda: record_of(job), lambda seen: seen.state.is_final, what="the job to be decided")
        assert mark.alive(), "its processes cannot have been ended yet"

    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id], ends=ends, strays=mark.alive))
    assert (record_of(job).state, record_of(job).cause) == (JobState.FAILED, Cause.WORKER_LOST)
    after = own_deployment.enqueue()
    assert after.wait(timeout=20).state is JobState.COMPLETED


@case("D15")
@pytest.mark.timeout(120)
def test_jobs_whose_pending_entries_an_operator_dropped_are_found_and_end(
    own_deployment: Deployment, ends: EndsWatcher, mark: Mark
) -> None:
    worker = own_deployment.start_worker(concurrency=1)
    running, waiting = own_deployment.enqueue("sleep 1"), own_deployment.enqueue()
    own_deployment.witness.until("start", running.id)
    (lease,) = own_deployment.leases()

    dropped = own_deployment.redis.xgroup_delconsumer(own_deployment.keys.ready(Priority.NORMAL), "workers", lease)

    assert dropped == 1, "the fault did not happen"
    ids = [running.id, waiting.id]
    assert_invariants(check_invariants(own_deployment, acknowledged=ids, ends=ends, strays=mark.alive, limit_s=70))
    worker.stop()


@case("R2")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("cut_bytes", [1, 500, 4_000])
def test_a_server_that_lost_its_last_writes_is_told_them_again_and_nothing_starts_twice(
    real_deployment: Deployment, fresh_server: ServerProcess, mark: Mark, cut_bytes: int
) -> None:
    real_deployment.redis.config_set("appendfsync", "always")
    jobs = [real_deployment.enqueue(f"sleep 0.{number % 5}; echo token=$ONESHOT_TOKEN") for number in range(30)]
    # What was accepted long ago is not in the part that is cut off.
    real_deployment.redis.set("ballast", b"x" * 4_000)
    real_deployment.start_worker(concurrency=3)
    real_deployment.witness.until_count("end", 10)

    fresh_server.kill()
    cut_aof_tail(fresh_server, cut_bytes)
    fresh_server.start()

    verdict = check_invariants(real_deployment, acknowledged=[job.id for job in jobs], strays=mark.alive, limit_s=60)
    assert_invariants(verdict)
    assert {record_of(job).state for job in jobs} == {JobState.COMPLETED}


@case("R15")
def test_a_worker_refuses_a_server_that_forgets_jobs_when_it_is_full(real_deployment: Deployment) -> None:
    real_deployment.redis.config_set("maxmemory-policy", "allkeys-lru")

    worker = real_deployment.start_worker(until_ready=False)

    assert worker.wait() != 0
    assert "allkeys-lru" in "\n".join(worker.lines)
