"""What Redis may keep when every job has ended: their records for a while, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from oneshot_queue import JobRecord, JobState
from oneshot_queue.states import FINAL_STATES
from tests.support.deployment import Deployment

_OF_A_JOB: Final = ("job", "spec", "stdin", "text", "output")


def leftovers_of(deployment: Deployment, records: Mapping[str, JobRecord]) -> list[str]:
    """What is in Redis although every job has ended, and each end that is not in the index exactly once."""
    keys, client = deployment.keys, deployment.redis
    left = [*_indexes_with_something(deployment), *_wrong_totals(deployment), *_keys_for_ever(deployment)]
    if entries := deployment.entries():
        left.append(f"{entries} entries in the streams")
    if pending := deployment.pending():
        left.append(f"pending entries {pending}")
    if strangers := deployment.consumers() - deployment.leases():
        left.append(f"consumers without a lease {strangers}")
    if lease_lengths := {raw.decode() for raw in client.hkeys(f"{keys.prefix}:terms")} - deployment.leases():
        left.append(f"lengths of no lease {lease_lengths}")
    intents = (name for name in deployment.key_names() if name.startswith(f"{keys.prefix}:intents:"))
    left += [f"intents {name}: {client.hkeys(name)}" for name in intents]
    if (rings := int(client.llen(keys.bell))) > 64:
        left.append(f"{rings} rings at the doorbell")
    indexed: dict[str, list[JobState]] = {}
    for state in JobState:
        for raw in client.zrange(keys.state(state), 0, -1):
            indexed.setdefault(raw.decode(), []).append(state)
    for job_id, record in records.items():
        if indexed.get(job_id) != [record.state]:
            left.append(f"{job_id} is {record.state} and stands in the index as {indexed.get(job_id)}")
    left += [
        f"{each} stands in the index as {found} and has no record"
        for each, found in indexed.items()
        if not client.exists(keys.job(each))
    ]
    return left


def _indexes_with_something(deployment: Deployment) -> Iterator[str]:
    for name in ("delayed", "expiring"):
        if members := deployment.redis.zrange(f"{deployment.keys.prefix}:{name}", 0, 100):
            yield f"{name} holds {members}"


def _wrong_totals(deployment: Deployment) -> Iterator[str]:
    """The bytes of output that are kept are the sum of those of the jobs, each of which has ended."""
    with deployment.redis.pipeline(transaction=True) as reading:
        reading.hgetall(f"{deployment.keys.prefix}:kept")
        reading.hget(deployment.keys.counters, "kept")
        for state in FINAL_STATES:
            reading.zrange(deployment.keys.state(state), 0, -1)
        kept, total, *ended = reading.execute()
    if sum(map(int, kept.values())) != int(total or 0):
        yield f"{total} bytes are counted as kept, and the jobs have {sum(map(int, kept.values()))}"
    if strangers := set(kept).difference(*ended):
        yield f"output is counted as kept of jobs that have not ended: {strangers}"


def _keys_for_ever(deployment: Deployment) -> Iterator[str]:
    prefixes = tuple(f"{deployment.keys.prefix}:{kind}:" for kind in _OF_A_JOB)
    names = [name for name in deployment.key_names() if name.startswith(prefixes)]
    with deployment.redis.pipeline(transaction=False) as reading:
        for name in names:
            reading.pttl(name)
        # -1: it has no end; -2: it is gone by now.
        yield from (f"{name} has no end" for name, ms in zip(names, reading.execute(), strict=True) if ms == -1)
