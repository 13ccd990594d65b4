"""Finds what is left in Redis once every job has a result: only records that expire may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from oneshot_queue import JobRecord, JobState
from oneshot_queue.states import FINAL_STATES
from tests.support.deployment import Deployment

_OF_A_JOB: Final = ("job", "spec", "stdin", "text", "output")


def leftovers_of(deployment: Deployment, records: Mapping[str, JobRecord]) -> list[str]:
    """Describe what should no longer be in Redis, and each result that is not in the index exactly once."""
    keys, client = deployment.keys, deployment.redis
    left = [*_waiting_sets(deployment), *_wrong_totals(deployment), *_keys_without_expiry(deployment)]
    if entries := deployment.entries():
        left.append(f"{entries} entries in the streams")
    if pending := deployment.pending():
        left.append(f"pending entries {pending}")
    if unknown := deployment.consumers() - deployment.leases():
        left.append(f"consumers without a lease: {unknown}")
    if lengths := {raw.decode() for raw in client.hkeys(f"{keys.prefix}:terms")} - deployment.leases():
        left.append(f"lease lengths without a lease: {lengths}")
    intents = (name for name in deployment.key_names() if name.startswith(f"{keys.prefix}:intents:"))
    left += [f"intents {name}: {client.hkeys(name)}" for name in intents]
    if (rings := int(client.llen(keys.bell))) > 64:
        left.append(f"{rings} entries in the doorbell")
    indexed: dict[str, list[JobState]] = {}
    for state in JobState:
        for raw in client.zrange(keys.state(state), 0, -1):
            indexed.setdefault(raw.decode(), []).append(state)
    for job_id, record in records.items():
        if indexed.get(job_id) != [record.state]:
            left.append(f"{job_id} is {record.state} and indexed as {indexed.get(job_id)}")
    left += [
        f"{each} is indexed as {found} and has no record"
        for each, found in indexed.items()
        if not client.exists(keys.job(each))
    ]
    return left


def _waiting_sets(deployment: Deployment) -> Iterator[str]:
    for name in ("delayed", "expiring"):
        if members := deployment.redis.zrange(f"{deployment.keys.prefix}:{name}", 0, 100):
            yield f"{name} contains {members}"


def _wrong_totals(deployment: Deployment) -> Iterator[str]:
    """The total of stored output must be the sum over all jobs, each of which must have a result."""
    with deployment.redis.pipeline(transaction=True) as reading:
        reading.hgetall(f"{deployment.keys.prefix}:kept")
        reading.hget(deployment.keys.counters, "kept")
        for state in FINAL_STATES:
            reading.zrange(deployment.keys.state(state), 0, -1)
        kept, total, *ended = reading.execute()
    if sum(map(int, kept.values())) != int(total or 0):
        yield f"stored output is {total} bytes in total, and {sum(map(int, kept.values()))} bytes over all jobs"
    if unknown := set(kept).difference(*ended):
        yield f"stored output is counted for jobs without a result: {unknown}"


def _keys_without_expiry(deployment: Deployment) -> Iterator[str]:
    prefixes = tuple(f"{deployment.keys.prefix}:{kind}:" for kind in _OF_A_JOB)
    names = [name for name in deployment.key_names() if name.startswith(prefixes)]
    with deployment.redis.pipeline(transaction=False) as reading:
        for name in names:
            reading.pttl(name)
        # -1: the key never expires; -2: it is gone by now.
        yield from (f"{name} never expires" for name, ms in zip(names, reading.execute(), strict=True) if ms == -1)
