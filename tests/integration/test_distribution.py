"""Several workers share jobs: each job starts once, no worker holds more than its slots, and priorities count."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneshot_queue import JobSpec, JobState, Priority, SyncJob, SyncQueue
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until


@pytest.mark.thorough
def test_jobs_on_two_workers_start_once_and_both_workers_take_part(deployment: Deployment) -> None:
    workers = [deployment.start_worker(concurrency=3, arguments=["--name", name]) for name in ("one", "two")]

    jobs = deployment.queue.enqueue_many([deployment.witness.command("sleep 0.01")] * 200)

    deployment.witness.until_count("end", 200)
    wait_until(deployment.entries, lambda left: left == 0, what="all jobs to end")
    ids = {job.id for job in jobs if isinstance(job, SyncJob)}
    assert deployment.witness.times("start") == dict.fromkeys(ids, 1)
    assert deployment.witness.times("end") == dict.fromkeys(ids, 1)
    assert deployment.pending() == {}
    counts = deployment.queue.queues()[0].states
    assert {state: count for state, count in counts.items() if count} == {JobState.COMPLETED: 200}
    records = [record_of(deployment.queue.get(each)) for each in ids]
    assert {each.worker for each in records} == {"one", "two"}
    for worker in workers:
        worker.stop()


@case("D13")
def test_worker_claims_no_more_jobs_than_it_has_free_slots(deployment: Deployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    for _ in range(12):
        deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done")

    workers = [deployment.start_worker(concurrency=slots, arguments=["--name", f"{slots}"]) for slots in (1, 3)]
    deployment.witness.until_count("start", 4)
    held = deployment.pending()
    gate.touch()
    deployment.witness.until_count("end", 12)

    assert sorted(held.values()) == [1, 3]
    wait_until(deployment.entries, lambda left: left == 0, what="all jobs to end")
    names = {job.id: record_of(job).worker for job in deployment.queue.list(limit=100)}
    for slots in (1, 3):
        running = peak = 0
        for each in deployment.witness.events():
            if names[each.job_id] == f"{slots}":
                running += 1 if each.event == "start" else -1
                peak = max(peak, running)
        assert peak <= slots
    for worker in workers:
        worker.stop()


@case("D13")
def test_one_slot_runs_jobs_by_priority_and_in_order(deployment: Deployment) -> None:
    wanted = []
    for number in range(4):
        for priority in ("low", "high", "normal"):
            job = deployment.enqueue(priority=priority, name=f"{priority}-{number}")
            wanted.append((("high", "normal", "low").index(priority), number, job.id))

    deployment.start_worker(concurrency=1, arguments=["--burst"]).wait()

    assert [each.job_id for each in deployment.witness.of("start")] == [job_id for _, _, job_id in sorted(wanted)]


def test_burst_runs_all_jobs_and_ends(deployment: Deployment) -> None:
    jobs = [deployment.enqueue("sleep 0.05") for _ in range(10)]

    worker = deployment.start_worker(concurrency=4, arguments=["--burst"])

    assert worker.wait() == 0
    assert {record_of(job).state for job in jobs} == {JobState.COMPLETED}
    assert deployment.leases() == deployment.consumers() == set()
    assert deployment.start_worker(arguments=["--burst"]).wait() == 0


def test_burst_runs_a_job_behind_malformed_entries(deployment: Deployment) -> None:
    for number in range(450):
        deployment.redis.xadd(deployment.keys.ready(Priority.NORMAL), {"junk": str(number)})
    job = deployment.enqueue()

    worker = deployment.start_worker(arguments=["--burst"])

    assert worker.wait() == 0
    assert record_of(job).state is JobState.COMPLETED
    assert deployment.redis.hget(deployment.keys.counters, "malformed") == b"450"


def test_idle_worker_claims_a_new_job_at_once(deployment: Deployment) -> None:
    deployment.start_worker(concurrency=1)

    jobs = [deployment.enqueue() for _ in range(1)]
    for _ in range(4):
        jobs[-1].wait(timeout=TIMEOUT_S)
        jobs.append(deployment.enqueue())
    jobs[-1].wait(timeout=TIMEOUT_S)

    waits_ms = []
    for job in jobs:
        record = record_of(job)
        assert record.started_ms is not None
        waits_ms.append(record.started_ms - record.created_ms)
    # The doorbell wakes it; polling would take longer.
    assert min(waits_ms) < 250


def test_one_worker_serves_several_queues_with_one_set_of_slots(deployment: Deployment, marker: ProcessMarker) -> None:
    other_name = f"{deployment.queue_name}-b"
    deployment.start_worker(queues=[deployment.queue_name, other_name], concurrency=2)
    with SyncQueue(queue=other_name, settings=deployment.settings) as other:
        jobs = [deployment.enqueue("sleep 0.02", id=f"same-{number}") for number in range(5)]
        # Ids are unique only within a queue.
        jobs += [other.enqueue(deployment.witness.command("sleep 0.02"), id=f"same-{number}") for number in range(5)]

        assert {job.wait(timeout=TIMEOUT_S).state for job in jobs} == {JobState.COMPLETED}

        assert deployment.witness.times("start") == {f"same-{number}": 2 for number in range(5)}


@pytest.mark.thorough
def test_workers_for_one_job_each_run_exactly_that_job_at_once(deployment: Deployment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"{deployment.witness.report('ready')}; while [ ! -e {gate} ]; do sleep 0.05; done"
    bystander = deployment.enqueue()
    jobs = [deployment.enqueue(script, priority="low") for _ in range(3)]

    workers = [
        deployment.start_worker(concurrency=1, arguments=["--only-job", job.id, "--quiet"], until_ready=False)
        for job in jobs
    ]

    deployment.witness.until_count("ready", 3)
    gate.touch()
    assert [worker.wait() for worker in workers] == [0] * 3
    assert deployment.witness.times("end") == {job.id: 1 for job in jobs}
    assert record_of(bystander).state is JobState.CREATED
    assert deployment.leases() == set()
    # Entries that these workers left delivered or pending do not block the next worker.
    deployment.start_worker(arguments=["--burst"]).wait()
    assert record_of(bystander).state is JobState.COMPLETED
    assert deployment.entries() == 0


def test_three_workers_for_the_same_job_start_it_once(deployment: Deployment) -> None:
    job = deployment.enqueue("sleep 0.2")

    workers = [
        deployment.start_worker(arguments=["--only-job", job.id, "--quiet"], until_ready=False) for _ in range(3)
    ]

    assert [worker.wait() for worker in workers] == [0] * 3
    assert deployment.witness.times("start") == {job.id: 1}


def test_deleted_consumer_group_is_created_again_and_no_job_starts_twice(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=2)
    before = [deployment.enqueue("sleep 0.3") for _ in range(2)]
    for job in before:
        deployment.witness.until("start", job.id)

    gone = deployment.redis.xgroup_destroy(deployment.keys.ready(Priority.NORMAL), "workers")
    after = [deployment.enqueue() for _ in range(5)]

    assert gone == 1, "the fault did not happen"
    assert {job.wait(timeout=TIMEOUT_S).state for job in before + after} == {JobState.COMPLETED}
    assert deployment.witness.times("start") == {job.id: 1 for job in before + after}
    worker.stop()
    assert deployment.entries() == 0


def test_jobs_of_very_different_sizes_are_all_claimed(deployment: Deployment) -> None:
    large = JobSpec(deployment.witness.command(), stdin=b"x" * 700_000)

    deployment.queue.enqueue_many([large, deployment.witness.command()] * 5)
    deployment.start_worker(concurrency=10, arguments=["--burst"]).wait()

    assert len(deployment.witness.of("end")) == 10
    assert set(deployment.witness.times("start").values()) == {1}


def test_job_does_not_wait_for_a_woken_worker_without_a_free_slot(
    real_deployment: Deployment, marker: ProcessMarker
) -> None:
    deployment, other_name = real_deployment, f"{real_deployment.queue_name}-b"

    def until_waiting(count: int) -> None:
        what = f"{count} connections to block on the doorbells"
        wait_until(lambda: deployment.redis.info("clients")["blocked_clients"], lambda seen: seen == count, what=what)

    deployment.start_worker(queues=[other_name, deployment.queue_name], concurrency=1)
    until_waiting(2)
    deployment.start_worker(concurrency=1, arguments=["--name", "free"])
    until_waiting(3)
    with SyncQueue(queue=other_name, settings=deployment.settings) as other:
        hog = other.enqueue(deployment.witness.command(marker.sleep))
        deployment.witness.until("start", hog.id)
        until_waiting(2)

        # Redis wakes the client that waited longest, and that worker has just used its slot.
        job = deployment.enqueue()
        job.wait(timeout=TIMEOUT_S)
        hog.interrupt(grace=0)

    record = record_of(job)
    assert record.worker == "free"
    assert record.started_ms is not None
    assert record.started_ms - record.created_ms < 1500
