"""Malformed data affects no other job, and no worker (V)."""

from __future__ import annotations

import random

import pytest

from oneshot_queue import InterruptResult, JobSpec, JobState, Priority
from oneshot_queue.wire.specs import pack_spec
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.integration.test_malformed import request
from tests.support.cases import case
from tests.support.deployment import Deployment
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Change, delete or insert a few bytes."""
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed))
        match rng.randrange(3):
            case 0:
                changed[place] = rng.randrange(256)
            case 1:
                del changed[place]
            case _:
                changed.insert(place, rng.randrange(256))
    return bytes(changed)


@case("V7")
def test_mutated_specs_are_rejected_or_run_and_the_worker_survives(
    own_deployment: Deployment, rng: random.Random
) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    raw = pack_spec(JobSpec(["true"], env={"A": "b"}, labels={"c": "d"}))
    jobs = [f"mutant-{number}" for number in range(300)]
    for job_id in jobs:
        with own_deployment.redis.pipeline(transaction=True) as hostile:
            for call in request(own_deployment, job_id, mutated(raw, rng)):
                hostile.execute_command(*call)
            hostile.execute()
    healthy = own_deployment.enqueue()

    assert healthy.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert_invariants(check_invariants(own_deployment, acknowledged=[*jobs, healthy.id]))
    assert own_deployment.redis.zcard(own_deployment.keys.state(JobState.FAILED)) >= 100, (
        "the fault did not happen often enough"
    )
    worker.stop()


@case("V8")
def test_interrupt_works_after_noise_on_the_control_channel(
    own_deployment: Deployment, marker: ProcessMarker, rng: random.Random
) -> None:
    own_deployment.start_worker()
    job = own_deployment.enqueue(marker.sleep)
    own_deployment.witness.until("start", job.id)
    own_deployment.wait_for_subscriber()

    for _ in range(500):
        assert own_deployment.redis.publish(own_deployment.keys.control, rng.randbytes(rng.randrange(200)))
    own_deployment.redis.publish(own_deployment.keys.control, b"\0" * 1_000_000)

    wait_until(
        lambda: int(own_deployment.redis.hget(own_deployment.keys.counters, "malformed") or 0),
        lambda seen: seen >= 501,
        what="all noise to be counted",
    )
    assert job.interrupt().result is InterruptResult.INTERRUPTED
    assert_invariants(
        check_invariants(own_deployment, acknowledged=[job.id], interrupted=[job.id], strays=marker.alive)
    )


@pytest.mark.thorough
@case("V9")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "BOGUS"),
        ("attempt", "many"),
        ("token", "\xff"),
        ("entry", ""),
        ("priority", "urgent"),
        ("state", None),
    ],
)
def test_damaged_record_affects_neither_its_worker_nor_other_jobs(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker, field: str, value: str | None
) -> None:
    worker = own_deployment.start_worker(concurrency=3)
    running = own_deployment.enqueue("sleep 0.5; echo late")
    own_deployment.witness.until("start", running.id)
    with own_deployment.redis.pipeline(transaction=True) as enqueued:
        for call in request(own_deployment, "waiting", pack_spec(JobSpec(own_deployment.witness.command()))):
            enqueued.execute_command(*call)
        for job_id in (running.id, "waiting"):
            key = own_deployment.keys.job(job_id)
            enqueued.hdel(key, field) if value is None else enqueued.hset(key, field, value)
        enqueued.execute()

    others = [own_deployment.enqueue().id for _ in range(5)]
    wait_until(
        lambda: own_deployment.redis.zrange(own_deployment.keys.state(JobState.COMPLETED), 0, -1),
        lambda ended: {job_id.encode() for job_id in others} <= set(ended),
        what="the other jobs to complete",
    )

    assert worker.is_alive
    damaged = [running.id, "waiting"]
    assert_invariants(
        check_invariants(own_deployment, acknowledged=others, watcher=watcher, damaged=damaged, strays=marker.alive)
    )
    assert own_deployment.redis.type(own_deployment.keys.ready(Priority.NORMAL)) in {b"stream", b"none"}
