"""Malformed data in Redis is set aside, counted and logged, and the worker goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgpack
import pytest

from oneshot_queue import Cause, JobState, Priority
from oneshot_queue.wire.packing import VERSION
from oneshot_queue.wire.specs import MAX_SPEC_BYTES
from tests.support.cases import case
from tests.support.deployment import Deployment, output_of, record_of
from tests.support.waiting import TIMEOUT_S, wait_until


def packed(value: Any) -> bytes:
    return bytes([VERSION]) + bytes(msgpack.packb(value))


HOSTILE = {
    "nothing": b"",
    "another version": bytes([VERSION + 1]) + bytes(msgpack.packb({"command": [b"true"]})),
    "no msgpack": bytes([VERSION, 0xC1]),
    "cut off": packed({"command": [b"true"]})[:-2],
    "trailing bytes": packed({"command": [b"true"]}) + b"\0",
    "no map": packed([b"true"]),
    "no command": packed({"name": "x"}),
    "an empty command": packed({"command": []}),
    "a command of text": packed({"command": "true"}),
    "an unknown field": packed({"command": [b"true"], "shell": True}),
    "a NUL in a word": packed({"command": [b"tr\0ue"]}),
    "a reserved variable": packed({"command": [b"true"], "env": {b"ONESHOT_TOKEN": b"1"}}),
    "a relative folder": packed({"command": [b"true"], "cwd": b"../.."}),
    "a NaN": packed({"command": [b"true"], "grace": float("nan")}),
    "a huge time": packed({"command": [b"true"], "time_limit": 1e300}),
    "deep nesting": bytes([VERSION]) + b"\x91" * 100_000,
    "an array of four billion": bytes([VERSION]) + b"\x81\xa7command\xdd\xff\xff\xff\xff",
    "too many bytes": b"\x01" * (MAX_SPEC_BYTES + 1),
    "a megabyte of empty words": bytes([VERSION]) + b"\x81\xa7command\xdd\x00\x0f\x00\x00" + b"\xc4\x00" * 200_000,
}


@case("D9", "V7")
def test_malformed_spec_fails_its_job_and_no_other(served: Deployment) -> None:
    jobs = {}
    for what, raw in HOSTILE.items():
        # One transaction, so that no worker sees a job without its malformed spec.
        with served.redis.pipeline(transaction=True) as swap:
            jobs[what] = job_id = what.replace(" ", "-")
            for call in request(served, job_id, raw):
                swap.execute_command(*call)
            swap.execute()
    healthy = served.enqueue("echo fine")

    outcomes = {what: served.queue.get(job_id).wait(timeout=TIMEOUT_S) for what, job_id in jobs.items()}

    assert {what: (each.state, each.cause) for what, each in outcomes.items()} == dict.fromkeys(
        HOSTILE, (JobState.FAILED, Cause.REJECTED)
    )
    assert all(each.error and "cannot be read" in each.error for each in outcomes.values())
    assert healthy.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert served.witness.times("start") == {healthy.id: 1}


def test_damaged_record_affects_no_other_job_of_its_claim(deployment: Deployment) -> None:
    jobs = [deployment.enqueue("echo fine") for _ in range(5)]
    damaged = jobs.pop(2)
    deployment.redis.hset(deployment.keys.job(damaged.id), "rows", "many")
    deployment.redis.hdel(deployment.keys.job(damaged.id), "log")

    worker = deployment.start_worker(concurrency=5)

    assert {job.wait(timeout=TIMEOUT_S).state for job in jobs} == {JobState.COMPLETED}
    worker.wait_for("cannot claim")
    later = [deployment.enqueue("echo fine") for _ in range(20)]
    assert {job.wait(timeout=TIMEOUT_S).state for job in later} == {JobState.COMPLETED}
    starts = deployment.witness.times("start")
    starts.pop(damaged.id, None)
    assert starts == {job.id: 1 for job in jobs + later}
    worker.stop()


@pytest.mark.thorough
def test_result_that_a_damaged_key_delays_is_recorded_after_its_repair(deployment: Deployment, tmp_path: Path) -> None:
    worker = deployment.start_worker(concurrency=2)
    job = deployment.enqueue(f"while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; echo done")
    deployment.witness.until("start", job.id)
    stream = deployment.keys.ready(Priority.NORMAL)

    deployment.redis.rename(stream, f"{stream}-saved")
    deployment.redis.set(stream, "oops")
    (tmp_path / "gate").touch()
    assert f"job={job.id}" in worker.wait_for("its result cannot be recorded")
    deployment.redis.delete(stream)
    deployment.redis.rename(f"{stream}-saved", stream)

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert output_of(job)[0] == b"done\n"
    assert sum("its result cannot be recorded" in line for line in worker.lines) == 1
    assert f"job={job.id}" in worker.wait_for("its result has now been recorded")
    worker.stop()
    assert deployment.entries() == 0


def test_stopping_worker_does_not_wait_forever_for_a_damaged_key(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=2)
    job = deployment.enqueue("read -r _ || :; exec sleep 0.2")
    deployment.witness.until("start", job.id)
    stream = deployment.keys.ready(Priority.NORMAL)
    deployment.redis.delete(stream)
    deployment.redis.set(stream, "oops")
    assert f"job={job.id}" in worker.wait_for("its result cannot be recorded")

    worker.stop()

    assert f"job {job.id}: its result could not be recorded" in "\n".join(worker.lines)


def request(deployment: Deployment, job_id: str, spec: bytes) -> list[tuple[Any, ...]]:
    """The commands of a hostile producer: an enqueue with this spec."""
    from oneshot_queue.store.scripts import script

    enqueue = script("enqueue").text
    job = (job_id, spec, "normal", b"", "", "", "")
    return [
        ("SADD", f"{{{deployment.settings.namespace}}}:queues", deployment.queue_name),
        ("EVAL", enqueue, 2, *deployment.keys.queue_keys, "stranger", 1_000_000, *job),
    ]


@case("D9")
def test_entries_that_name_no_job_are_set_aside_and_counted(deployment: Deployment) -> None:
    stream = deployment.keys.ready(Priority.HIGH)
    foreign: list[dict[bytes, bytes]] = [
        {b"junk": b"1"},
        {b"id": b"no-such-job"},
        {b"id": b"../../etc"},
        {b"id": b"\xff\xfe\0"},
        {b"id": b"x" * 100_000},
        {b"id": b"two", b"fields": b"here"},
        {os.urandom(20): os.urandom(20)},
    ]
    for fields in foreign:
        deployment.redis.xadd(stream, fields)
    job = deployment.enqueue()

    worker = deployment.start_worker()

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    worker.wait_for("set aside")
    assert deployment.redis.hget(deployment.keys.counters, "malformed") == b"%d" % len(foreign)
    assert deployment.redis.llen(deployment.keys.quarantine) == len(foreign)
    assert deployment.entries() == 0
    worker.stop()


def test_duplicate_entries_of_a_job_start_it_once(deployment: Deployment) -> None:
    job = deployment.enqueue("sleep 0.1")
    for priority in Priority:
        deployment.redis.xadd(deployment.keys.ready(priority), {"id": job.id})

    deployment.start_worker(arguments=["--burst"]).wait()

    assert deployment.witness.times("start") == {job.id: 1}
    assert record_of(job).state is JobState.COMPLETED
    assert deployment.entries() == 0


@pytest.mark.thorough
@case("R14")
@pytest.mark.parametrize("what", ["job", "text", "output"])
def test_key_of_another_type_in_place_of_a_jobs_affects_no_other_job(deployment: Deployment, what: str) -> None:
    gate = deployment.witness.path.with_name("gate")
    worker = deployment.start_worker(concurrency=2)
    victim = deployment.enqueue(f"echo before; while [ ! -e {gate} ]; do sleep 0.02; done; seq 20000")
    deployment.witness.until("start", victim.id)
    wait_until(lambda: deployment.redis.exists(deployment.keys.output_head(victim.id, 1)), what="the first output")
    key = {
        "job": deployment.keys.job(victim.id),
        "text": deployment.keys.text(victim.id),
        "output": deployment.keys.output_head(victim.id, 1),
    }[what]

    # In one transaction: between the two, the worker would find no job, and rightly be fenced.
    deployment.redis.pipeline(transaction=True).delete(key).lpush(key, "not ours").execute()
    gate.touch()
    worker.wait_for(f"end   {victim.id}")
    others = [deployment.enqueue("seq 20000") for _ in range(10)]

    assert {job.wait(timeout=TIMEOUT_S).state for job in others} == {JobState.COMPLETED}
    assert all(len(output_of(job)[0]) == 108_894 for job in others)
    assert deployment.redis.type(key) == b"list", "the foreign value was overwritten"
    if what == "output":
        # Its output is lost and counted; its result is recorded.
        assert victim.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
        assert record_of(victim).output.dropped == 108_894
