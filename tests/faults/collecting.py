"""Collects the evidence of a test, and has it judged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from oneshot_queue import JobRecord, JobState, OneshotQueueError
from oneshot_queue.states import FINAL_STATES
from tests.faults.evidence import EndsWatcher, Evidence, Footprint
from tests.faults.invariants import Verdict, judge
from tests.integration.deployment import Deployment
from tests.waiting import LIMIT_S, wait_until

GONE_AFTER_INTERRUPT_S: Final = 2.0
GONE_AFTER_WORKER_S: Final = 5.0

T = TypeVar("T")


def check_invariants(
    deployment: Deployment,
    *,
    acknowledged: Collection[str],
    interrupted: Collection[str] = (),
    ends: EndsWatcher | None = None,
    expected: Mapping[str, bytes] | None = None,
    strays: Callable[[], Collection[int]] = list,
    has_worker: bool = True,
    grown: Mapping[str, tuple[Footprint, Footprint]] | None = None,
    secrets: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
) -> Verdict:
    """Collect the evidence and judge it.

    Args:
        strays: Looks for processes that should be gone but that no token finds.
        has_worker: Whether a worker still runs; if none does, no process of any job may.
        limit_s: How long jobs may take to end.
    """
    until_ended(deployment, acknowledged, limit_s=limit_s)
    heard = deployment.witness.heard()
    asked = {each.token for each in heard if each.job_id in set(interrupted)}
    tokens = {each.token for each in heard}
    late = until_gone(lambda: live_processes(asked), GONE_AFTER_INTERRUPT_S)
    alive = late or until_gone(lambda: live_processes(tokens), GONE_AFTER_WORKER_S)
    records, unreadable = records_of(deployment, acknowledged)
    stored = {each: list(deployment.queue.get(each).output()) for each in (expected or {}) if each in records}
    evidence = Evidence(
        acknowledged=acknowledged,
        interrupted=interrupted,
        records=records,
        unreadable=unreadable,
        tokens=tokens_of(deployment, acknowledged),
        heard=heard,
        changed_ends=ends.changes if ends else (),
        alive=alive,
        strays=until_gone(strays, GONE_AFTER_WORKER_S),
        has_worker=has_worker,
        leftovers=leftovers_of(deployment, records),
        expected=expected or {},
        stored=stored,
        grown=grown or {},
        secrets=secrets or {},
        texts=texts or {},
    )
    return judge(evidence)


def live_processes(tokens: Collection[str]) -> dict[str, list[int]]:
    """Token -> pids of the processes that run with it in their environment."""
    found: dict[str, list[int]] = {}
    wanted = {token.encode(): token for token in tokens}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            # That of a zombie is empty, and that of another user is not ours to judge.
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        for each in variables:
            name, _, value = each.partition(b"=")
            if name == b"ONESHOT_TOKEN" and value in wanted:
                found.setdefault(wanted[value], []).append(int(pid))
    return found


def until_ended(deployment: Deployment, job_ids: Collection[str], *, limit_s: float = LIMIT_S) -> None:
    """Wait until all these jobs have ended; one that has not within the limit is left to the checker."""

    def waiting() -> set[str]:
        ended: set[str] = set()
        for state in FINAL_STATES:
            ended |= {raw.decode() for raw in deployment.redis.zrange(deployment.keys.state(state), 0, -1)}
        return set(job_ids) - ended

    with contextlib.suppress(AssertionError):
        wait_until(waiting, lambda left: not left, what="all jobs to end", limit_s=limit_s)


def until_gone(observe: Callable[[], T], limit_s: float) -> T:
    """Give processes the time they have to be gone; returns what is left."""
    with contextlib.suppress(AssertionError):
        return wait_until(observe, lambda left: not left, what="processes to be gone", limit_s=limit_s)
    return observe()


def records_of(deployment: Deployment, job_ids: Iterable[str]) -> tuple[dict[str, JobRecord], dict[str, str]]:
    """What Redis knows of these jobs, and why it knows nothing of the others."""
    records, unreadable = {}, {}
    for job_id in job_ids:
        try:
            record = deployment.queue.get(job_id).refresh().record
        except OneshotQueueError as problem:
            unreadable[job_id] = str(problem)
        else:
            assert record is not None
            records[job_id] = record
    return records, unreadable


def tokens_of(deployment: Deployment, job_ids: Iterable[str]) -> dict[str, str]:
    """The token on record of each job that has one."""
    found = {each: deployment.redis.hget(deployment.keys.job(each), "token") for each in job_ids}
    return {job_id: raw.decode() for job_id, raw in found.items() if raw}


def leftovers_of(deployment: Deployment, records: Mapping[str, JobRecord]) -> list[str]:
    """What is in Redis although every job has ended, and each end that is not in the index exactly once."""
    keys, client = deployment.keys, deployment.redis
    left = []
    if entries := deployment.entries():
        left.append(f"{entries} entries in the streams")
    if pending := deployment.pending():
        left.append(f"pending entries {pending}")
    if strangers := deployment.consumers() - deployment.leases():
        left.append(f"consumers without a lease {strangers}")
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
