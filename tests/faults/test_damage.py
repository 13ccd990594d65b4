"""Data that is not what it should be harms nobody but itself (V)."""

from __future__ import annotations

import random

import pytest

from oneshot_queue import InterruptResult, JobSpec, JobState, Priority
from oneshot_queue.wire.specs import pack_spec
from tests.faults.collecting import check_invariants
from tests.faults.ends import EndsWatcher
from tests.faults.invariants import assert_invariants
from tests.integration.test_malformed import request
from tests.support.cases import case
from tests.support.deployment import Deployment
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until


def mutated(raw: bytes, dice: random.Random) -> bytes:
    """The same with a few bytes changed, left out or put in."""
    changed = bytearray(raw)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(changed))
        match dice.randrange(3):
            case 0:
                changed[place] = dice.randrange(256)
            case 1:
                del changed[place]
            case _:
                changed.insert(place, dice.randrange(256))
    return bytes(changed)


@case("V7")
def test_mutations_of_a_spec_end_as_rejected_or_as_a_job_and_the_worker_lives(
    own_deployment: Deployment, dice: random.Random
) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    raw = pack_spec(JobSpec(["true"], env={"A": "b"}, labels={"c": "d"}))
    jobs = [f"mutant-{number}" for number in range(300)]
    for job_id in jobs:
        with own_deployment.redis.pipeline(transaction=True) as hostile:
            for call in request(own_deployment, job_id, mutated(raw, dice)):
                hostile.execute_command(*call)
            hostile.execute()
    healthy = own_deployment.enqueue()

    assert healthy.wait(timeout=20).state is JobState.COMPLETED
    assert_invariants(check_invariants(own_deployment, acknowledged=[*jobs, healthy.id]))
    assert own_deployment.redis.zcard(own_deployment.keys.state(JobState.FAILED)) >= 100, "hardly any was malformed"
    worker.stop()


@case("V8")
def test_noise_on_the_control_channel_leaves_interrupts_as_quick_as_ever(
    own_deployment: Deployment, marker: ProcessMarker, dice: random.Random
) -> None:
    own_deployment.start_worker()
    job = own_deployment.enqueue(marker.sleep)
    own_deployment.witness.until("start", job.id)
    own_deployment.until_heard()

    for _ in range(500):
        assert own_deployment.redis.publish(own_deployment.keys.control, dice.randbytes(dice.randrange(200)))
    own_deployment.redis.publish(own_deployment.keys.control, b"\0" * 1_000_000)

    wait_until(
        lambda: int(own_deployment.redis.hget(own_deployment.keys.counters, "malformed") or 0),
        lambda seen: seen >= 501,
        what="all the noise to be counted",
    )
    assert job.interrupt().result is InterruptResult.INTERRUPTED
    assert_invariants(
        check_invariants(own_deployment, acknowledged=[job.id], interrupted=[job.id], strays=marker.alive)
    )


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
def test_a_damaged_record_takes_neither_its_worker_nor_other_jobs_along(
    own_deployment: Deployment, ends: EndsWatcher, marker: ProcessMarker, field: str, value: str | None
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
        check_invariants(own_deployment, acknowledged=others, ends=ends, damaged=damaged, strays=marker.alive)
    )
    assert own_deployment.redis.type(own_deployment.keys.ready(Priority.NORMAL)) in {b"stream", b"none"}
