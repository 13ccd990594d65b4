"""Collects the evidence of a test, and has it judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeVar

from oneshot_queue import JobRecord, OneshotQueueError
from oneshot_queue.client.verbs.logs import OutputChunk
from oneshot_queue.states import FINAL_STATES
from tests.faults.ends import EndsWatcher
from tests.faults.evidence import Evidence, Footprint
from tests.faults.invariants import Verdict, judge
from tests.faults.remains import leftovers_of
from tests.support.deployment import Deployment
from tests.support.markers import pids, words_of
from tests.support.waiting import LIMIT_S, wait_until

GONE_AFTER_INTERRUPT_S: Final = 2.0
GONE_AFTER_WORKER_S: Final = 5.0
MOST_OUTPUTS: Final = 1_000
MOST_CHUNKS: Final = 50

T = TypeVar("T")


def check_invariants(
    deployment: Deployment,
    *,
    acknowledged: Collection[str],
    interrupted: Collection[str] = (),
    damaged: Collection[str] = (),
    ends: EndsWatcher | None = None,
    expected: Mapping[str, bytes] | None = None,
    strays: Callable[[], Collection[int]] = list,
    has_worker: bool = True,
    is_prompt: bool = True,
    grown: Mapping[str, tuple[Footprint, Footprint]] | None = None,
    secrets: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
) -> Verdict:
    """Collect the evidence and judge it.

    Args:
        damaged: Jobs whose record was damaged on purpose: it proves nothing, but what the commands say still does.
        strays: Looks for processes that should be gone but that no token finds.
        has_worker: Whether a worker still runs; if none does, no process of any job may.
        is_prompt: Whether nothing kept a worker from hearing of an interrupt and from acting on it at once.
        limit_s: How long jobs may take to end.
    """
    until_ended(deployment, acknowledged, limit_s=limit_s)
    heard = deployment.witness.heard()
    asked = {each.token for each in heard if each.job_id in set(interrupted)}
    tokens = {each.token for each in heard}
    late = until_gone(lambda: live_processes(asked), GONE_AFTER_INTERRUPT_S)
    alive = late or until_gone(lambda: live_processes(tokens), GONE_AFTER_WORKER_S)
    # Whoever testified has a record too, though nobody may have heard that it was accepted.
    records, unreadable = records_of(deployment, {*acknowledged, *(each.job_id for each in heard)} - set(damaged))
    if ends:
        ends.look(deployment.redis, at_all=True)
        ends.assert_watching()
    evidence = Evidence(
        acknowledged=acknowledged,
        interrupted=interrupted,
        records=records,
        unreadable=unreadable,
        damaged=damaged,
        tokens=tokens_of(deployment, records),
        heard=heard,
        witnessed=witnessed_of(deployment, records),
        watched_ends=ends.watched if ends else 0,
        changed_ends=ends.changes if ends else (),
        alive=alive,
        strays=until_gone(strays, GONE_AFTER_WORKER_S),
        has_worker=has_worker,
        is_prompt=is_prompt,
        leftovers=leftovers_of(deployment, records),
        expected=expected or {},
        stored=stored_of(deployment, records, expected or {}, {each.job_id: each.attempt for each in heard}),
        grown=grown or {},
        secrets=secrets or {},
        texts=texts or {},
    )
    return judge(evidence)


def live_processes(tokens: Collection[str]) -> dict[str, list[int]]:
    """Token -> pids of the processes that run with it in their environment."""
    found: dict[str, list[int]] = {}
    wanted = {token.encode(): token for token in tokens}
    for pid in pids():
        for each in words_of(pid, "environ"):
            name, _, value = each.partition(b"=")
            if name == b"ONESHOT_TOKEN" and value in wanted:
                found.setdefault(wanted[value], []).append(pid)
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


def witnessed_of(deployment: Deployment, records: Mapping[str, JobRecord]) -> list[str]:
    """The jobs whose command testifies to its start."""
    path = bytes(deployment.witness.path)
    return [
        job_id
        for job_id, record in records.items()
        if record.spec is not None and any(path in word for word in record.spec.argv)
    ]


def stored_of(
    deployment: Deployment,
    records: Mapping[str, JobRecord],
    expected: Collection[str],
    started: Mapping[str, int],
) -> dict[str, list[OutputChunk]]:
    """What is kept of the output: all of what is expected; of others that started, so much of so many.

    Args:
        started: Job -> the last attempt that testified.
    """

    def chunks_of(job_id: str) -> Iterator[OutputChunk]:
        for attempt in range(1, max(1, records[job_id].attempt) + 1):
            chunks = deployment.queue.get(job_id).output(attempt=attempt)
            yield from chunks if job_id in expected else islice(chunks, MOST_CHUNKS)

    # First those that were started again, for they can be written to by the wrong one.
    others = sorted(set(started) - set(expected), key=lambda job_id: -started[job_id])[:MOST_OUTPUTS]
    return {job_id: list(chunks_of(job_id)) for job_id in (*expected, *others) if job_id in records}
