"""Nothing stays forever: finished jobs are deleted in time, and gone workers are not listed."""

from __future__ import annotations

import pytest

from oneshot_queue import JobNotFound, JobState, SyncJob
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.workers.worker.services.pruner import Pruner
from tests.support.deployment import Deployment, record_of, until_state
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.workers.worker.builders import a_session


def run_one_by_one(deployment: Deployment, count: int, script: str) -> list[SyncJob]:
    """Run jobs one after the other, so that no two end in the same millisecond."""
    jobs = []
    for _ in range(count):
        jobs.append(deployment.queue.enqueue(["sh", "-c", f"{script}; sleep 0.01; exit 3"]))
        jobs[-1].wait(timeout=TIMEOUT_S)
    return jobs


def test_oldest_finished_jobs_are_deleted_when_there_are_too_many(deployment: Deployment) -> None:
    deployment.tune(max_finished_jobs=5)
    deployment.start_worker(concurrency=1)

    jobs = run_one_by_one(deployment, 12, "echo hello")

    assert [job.id for job in reversed(deployment.queue.list())] == [job.id for job in jobs[-5:]]
    with pytest.raises(JobNotFound):
        jobs[0].refresh()
    gone = {job.id for job in jobs[:-5]}
    assert not [name for name in deployment.key_names() if any(each in name for each in gone)]


def test_oldest_finished_jobs_are_deleted_when_their_output_is_too_large(deployment: Deployment) -> None:
    deployment.tune(max_finished_output_bytes=250_000)
    deployment.start_worker(concurrency=1)

    jobs = run_one_by_one(deployment, 5, "head -c 100000 /dev/zero")

    assert [job.id for job in reversed(deployment.queue.list())] == [job.id for job in jobs[-2:]]
    assert int(deployment.redis.hget(deployment.keys.counters, "kept") or 0) == 200_000


async def test_keys_return_to_the_baseline_after_retention(deployment: Deployment, marker: ProcessMarker) -> None:
    deployment.tune(keep_completed_s=0.1, keep_failed_s=0.1)
    worker = deployment.start_worker(concurrency=4)
    first = deployment.enqueue("seq 100")
    first.wait(timeout=TIMEOUT_S)
    await forget_finished(deployment)
    baseline = stable_keys(deployment)

    jobs = [deployment.queue.enqueue(argv, stdin=b"x" * size) for argv, size in VARIETY]
    waiting = deployment.queue.enqueue(["sh", "-c", marker.sleep], idle_after=0.1)
    for job in jobs:
        job.wait(timeout=TIMEOUT_S)
    until_state(waiting, JobState.IDLE)
    waiting.interrupt()
    unstarted = deployment.queue.enqueue(["true"])
    unstarted.interrupt()
    assert len(stable_keys(deployment)) > len(baseline) + 20
    await forget_finished(deployment)

    assert stable_keys(deployment) == baseline
    assert int(deployment.redis.hget(deployment.keys.counters, "kept") or 0) == 0
    assert not deployment.redis.exists(
        deployment.keys.state(JobState.COMPLETED), deployment.keys.state(JobState.FAILED)
    )
    worker.stop()


VARIETY: list[tuple[list[str], int]] = [
    (["true"], 0),
    (["false"], 1),
    (["cat"], 3_000),
    (["cat"], 1_000_000),
    (["tee", "/dev/fd/2"], 300_000),
    (["no-such-program"], 10),
    (["sh", "-c", "kill -9 $$"], 0),
]


def stable_keys(deployment: Deployment) -> set[str]:
    """The keys, except those that come and go: the doorbell and the presence of a worker."""
    return {name for name in deployment.key_names() if not name.endswith(":bell") and ":worker:" not in name}


async def forget_finished(deployment: Deployment) -> None:
    """Prune as every worker does once a minute, until no finished job is left."""
    connection = AsyncConnection(deployment.url)
    pruner = Pruner(a_session(connection, queues=[deployment.keys.queue], settings=deployment.settings))

    def finished() -> int:
        finals = [state for state in JobState if state.is_final]
        return sum(deployment.redis.zcard(deployment.keys.state(state)) for state in finals)

    while finished():
        await pruner.run_once()
    await connection.aclose()


def test_keys_of_finished_jobs_expire_even_without_pruning(deployment: Deployment) -> None:
    deployment.start_worker()
    job = deployment.queue.enqueue(["tee", "/dev/fd/2"], stdin=b"x" * 300_000)
    job.wait(timeout=TIMEOUT_S)

    names = [name for name in deployment.key_names() if job.id in name]

    assert len(names) >= 5
    # 24 hours, and one hour more so that pruning comes first.
    assert {86_400 < deployment.redis.ttl(name) <= 90_000 for name in names} == {True}


def test_workers_are_listed_with_their_jobs_while_they_live(deployment: Deployment, marker: ProcessMarker) -> None:
    worker = deployment.start_worker(concurrency=3, arguments=["--name", "shown"])
    (idle,) = deployment.queue.workers()
    jobs = [deployment.enqueue(marker.sleep) for _ in range(2)]

    (busy,) = wait_until(deployment.queue.workers, lambda seen: seen and len(seen[0].running) == 2, what="both jobs")
    (key,) = [name for name in deployment.key_names() if ":worker:" in name]
    ttl_s = deployment.redis.ttl(key)

    assert (idle.name, idle.pid, idle.concurrency, idle.running) == ("shown", worker.worker_pid, 3, ())
    assert idle.queues == (deployment.queue_name,)
    assert set(busy.running) == {job.id for job in jobs}
    assert busy.started_ms <= busy.seen_ms
    assert 0 < ttl_s <= 15
    assert record_of(jobs[0]).worker == "shown"
    for job in jobs:
        job.interrupt()
    worker.stop()
    assert deployment.queue.workers() == []
