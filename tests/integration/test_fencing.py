"""A worker that lost its lease or a job ends the processes, writes nothing for them, and goes on."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from oneshot_queue import JobState, SyncJob
from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import Priority
from tests.support.cases import case
from tests.support.deployment import Deployment, output_of, record_of, until_state
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import TIMEOUT_S, wait_until


@pytest.mark.thorough
@case("R4")
@pytest.mark.parametrize("output", ["silent", "talking", "idle"])
def test_jobs_of_an_emptied_server_end_and_the_worker_gets_a_new_lease(
    own_deployment: Deployment, marker: ProcessMarker, output: str
) -> None:
    own_deployment.tune(lease_s=1.8)
    worker = own_deployment.start_worker(concurrency=2)
    busy = "while :; do echo on; sleep 0.05; done" if output == "talking" else marker.sleep
    job = own_deployment.enqueue(
        f"trap 'echo bye; exit 0' TERM; echo hello; {marker.sleep} & {busy}",
        grace=5,
        idle_after=0.1 if output == "idle" else 60,
    )
    own_deployment.witness.until("start", job.id)
    if output == "idle":
        until_state(job, JobState.IDLE)
    (lease,) = own_deployment.leases()

    own_deployment.redis.flushall()
    worker.wait_for("is lost")
    wait_until(marker.alive, lambda left: not left, what="the processes of the job to end")

    after = own_deployment.enqueue("echo after", idle_after=0.1)
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    (new_lease,) = own_deployment.leases()
    assert new_lease != lease
    assert not own_deployment.redis.exists(own_deployment.keys.job(job.id)), "something was written for the lost job"
    assert own_deployment.witness.times("start") == {job.id: 1, after.id: 1}
    worker.wait_until_idle()
    worker.stop()
    assert own_deployment.leases() == own_deployment.consumers() == set()


def test_job_with_another_token_ends_and_nothing_more_is_written_for_it(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2)
    job = deployment.enqueue(
        f"trap 'echo bye; exit 0' TERM; echo hello; {marker.sleep} & while :; do echo on; sleep 0.05; done"
    )
    deployment.witness.until("start", job.id)

    deployment.redis.hset(deployment.keys.job(job.id), "token", "9999999999999999")
    before = deployment.redis.hgetall(deployment.keys.job(job.id))
    wait_until(marker.alive, lambda left: not left, what="the processes of the job to end")

    after = deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    worker.stop()
    left = deployment.redis.hgetall(deployment.keys.job(job.id))
    assert left[b"state"] == b"RUNNING"
    assert (left[b"token"], left.get(b"ended")) == (before[b"token"], None)


def test_job_whose_claim_was_lost_is_not_started_twice_and_affects_no_other(
    deployment: Deployment, tmp_path: Path
) -> None:
    worker = deployment.start_worker(concurrency=4)
    script = f"while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; echo done"
    bystander, job = deployment.enqueue(script), deployment.enqueue(script)
    deployment.witness.until_count("start", 2)

    lose_claim(deployment, job)
    worker.wait_for("the broker lost this worker's claim of the job")
    (tmp_path / "gate").touch()

    assert {each.wait(timeout=TIMEOUT_S).state for each in (bystander, job)} == {JobState.COMPLETED}
    assert output_of(job)[0] == b"done\n"
    assert deployment.witness.times("start") == {bystander.id: 1, job.id: 1}
    worker.stop()


def lose_claim(deployment: Deployment, job: SyncJob) -> None:
    """Undo the claim of a job, as a crash of Redis may."""
    with deployment.redis.pipeline(transaction=True) as rollback:
        rollback.xadd(deployment.keys.ready(Priority.NORMAL), {"id": job.id}, id="9999999999999-0")
        rollback.hset(deployment.keys.job(job.id), mapping={"state": "CREATED", "entry": "9999999999999-0"})
        rollback.rpush(deployment.keys.bell, "1")
        rollback.execute()


def test_job_whose_claim_was_lost_is_marked_lost_with_its_worker_and_not_started_again(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker(concurrency=2)
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)
    lose_claim(deployment, job)
    worker.wait_for("the broker lost this worker's claim of the job")

    os.kill(worker.worker_pid, signal.SIGKILL)

    outcome = job.wait(timeout=TIMEOUT_S)
    assert (outcome.state, outcome.cause) == (JobState.FAILED, Cause.WORKER_LOST)
    assert marker.alive() == []
    assert deployment.witness.times("start") == {job.id: 1}
    worker.stop()


@pytest.mark.thorough
@pytest.mark.parametrize("code", [0, 7])
def test_exit_that_a_dead_worker_saw_counts_though_the_claim_was_lost(
    deployment: Deployment, tmp_path: Path, code: int
) -> None:
    crash = {"ONESHOT_CRASH_AT": "before_finish", "ONESHOT_CRASH_MARK": str(tmp_path / "crashed")}
    worker = deployment.start_worker(concurrency=2, environment={"ONESHOT_TEST_FAULTS": "1", **crash})
    job = deployment.enqueue(
        f"while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; exit {code}", retries=1, retry_on=["worker_lost"]
    )
    deployment.witness.until("start", job.id)
    lose_claim(deployment, job)
    worker.wait_for("the broker lost this worker's claim of the job")

    (tmp_path / "gate").touch()

    outcome = job.wait(timeout=TIMEOUT_S)
    assert (tmp_path / "crashed").exists()
    assert (outcome.cause, outcome.exit_code, outcome.attempt) == (Cause.EXIT, code, 1)
    assert deployment.witness.times("start") == {job.id: 1}
    worker.stop()


def test_new_job_with_the_id_of_a_deleted_job_starts_once_that_job_is_gone(
    own_deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    former = own_deployment.enqueue(f"trap '' TERM; {marker.sleep} & while :; do sleep 0.05; done", id="same", grace=60)
    own_deployment.witness.until("start", former.id)

    own_deployment.redis.delete(own_deployment.keys.job("same"))
    again = own_deployment.enqueue("echo again", id="same")

    assert again.created
    assert again.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert marker.alive() == []
    assert output_of(again)[0] == b"again\n"
    after = own_deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    worker.stop()


@pytest.mark.thorough
@pytest.mark.parametrize("meanwhile", ["ended", "fell silent"])
def test_worker_gives_up_a_job_whose_server_was_replaced_by_an_empty_one(
    real_deployment: Deployment, fresh_server: ServerProcess, tmp_path: Path, meanwhile: str
) -> None:
    real_deployment.tune(lease_s=1.2)
    worker = real_deployment.start_worker(concurrency=2)
    gate = tmp_path / "gate"
    silence = f"sleep 1; {real_deployment.witness.report('silent')}; sleep 300; "
    job = real_deployment.enqueue(
        f"while [ ! -e {gate} ]; do echo on; sleep 0.02; done; {'' if meanwhile == 'ended' else silence}:",
        idle_after=0.3,
    )
    real_deployment.witness.until("start", job.id)
    before = record_of(job)

    fresh_server.stop()
    gate.touch()
    if meanwhile == "ended":
        worker.wait_for(f"end   {job.id}")
    else:
        real_deployment.witness.until("silent", job.id)
    for data in fresh_server.folder.glob("append*"):
        shutil.rmtree(data) if data.is_dir() else data.unlink()
    fresh_server.start()

    worker.wait_for("this worker no longer holds it")
    worker.wait_for(f"{'end ' if meanwhile == 'ended' else 'gone'}  {job.id}")
    after = real_deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    wait_until(
        lambda: [each.running for each in real_deployment.queue.workers()],
        lambda seen: seen == [()],
        what="the worker to show that it runs nothing",
    )
    worker.signal()
    # It does not wait for a job whose result it can no longer record.
    assert worker.wait(timeout_s=10) == 0
    assert before.state is JobState.RUNNING
    assert not real_deployment.redis.exists(real_deployment.keys.job(job.id))
