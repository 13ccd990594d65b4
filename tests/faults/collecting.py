"""Collects the evidence of a test, and judges it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeVar

from oneshot_queue import JobRecord, OneshotQueueError
from oneshot_queue.client.verbs.logs import OutputChunk
from oneshot_queue.states import FINAL_STATES
from tests.faults.evidence import Evidence, Footprint
from tests.faults.invariants import Verdict, judge
from tests.faults.redis_leftovers import leftovers_of
from tests.faults.result_watcher import ResultWatcher
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
    watcher: ResultWatcher | None = None,
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
        acknowledged: Jobs whose enqueue was acknowledged.
        interrupted: Jobs whose interrupt was acknowledged.
        damaged: Jobs whose record was damaged on purpose: it is not judged, but what their commands reported is.
        watcher: The watcher of the results, if one runs.
        expected: Job -> all that its last attempt wrote to stdout.
        strays: Finds processes that should be gone and that no token identifies.
        has_worker: Whether a worker still runs; if not, no process of any job may.
        is_prompt: Whether nothing kept a worker from receiving an interrupt and acting on it at once.
        grown: Process -> what it occupied before and after.
        secrets: Name -> value of what must not appear in ``texts``.
        texts: Place -> its text.
        limit_s: Seconds that jobs may take to get a result.
    """
    until_ended(deployment, acknowledged, limit_s=limit_s)
    events = deployment.witness.events()
    interrupted_tokens = {each.token for each in events if each.job_id in set(interrupted)}
    tokens = {each.token for each in events}
    late = until_gone(lambda: live_processes(interrupted_tokens), GONE_AFTER_INTERRUPT_S)
    alive = late or until_gone(lambda: live_processes(tokens), GONE_AFTER_WORKER_S)
    # A job that reported has a record too, even if its enqueue was not acknowledged.
    records, unreadable = records_of(deployment, {*acknowledged, *(each.job_id for each in events)} - set(damaged))
    if watcher:
        watcher.look(deployment.redis, at_all=True)
        watcher.assert_watching()
    evidence = Evidence(
        acknowledged=acknowledged,
        interrupted=interrupted,
        records=records,
        unreadable=unreadable,
        damaged=damaged,
        tokens=tokens_of(deployment, records),
        events=events,
        witnessed=witnessed_of(deployment, records),
        watched_results=watcher.watched if watcher else 0,
        changed_results=watcher.changes if watcher else (),
        alive=alive,
        strays=until_gone(strays, GONE_AFTER_WORKER_S),
        has_worker=has_worker,
        is_prompt=is_prompt,
        leftovers=leftovers_of(deployment, records),
        expected=expected or {},
        stored=stored_of(deployment, records, expected or {}, {each.job_id: each.attempt for each in events}),
        grown=grown or {},
        secrets=secrets or {},
        texts=texts or {},
    )
    return judge(evidence)


def live_processes(tokens: Collection[str]) -> dict[str, list[int]]:
    """Find the processes that have these tokens in their environment: token -> process ids."""
    found: dict[str, list[int]] = {}
    wanted = {token.encode(): token for token in tokens}
    for pid in pids():
        for each in words_of(pid, "environ"):
            name, _, value = each.partition(b"=")
            if name == b"ONESHOT_TOKEN" and value in wanted:
                found.setdefault(wanted[value], []).append(pid)
    return found


def until_ended(deployment: Deployment, job_ids: Collection[str], *, limit_s: float = LIMIT_S) -> None:
    """Wait until all these jobs have a result; a job without one is left to the checker."""

    def waiting() -> set[str]:
        ended: set[str] = set()
        for state in FINAL_STATES:
            ended |= {raw.decode() for raw in deployment.redis.zrange(deployment.keys.state(state), 0, -1)}
        return set(job_ids) - ended

    with contextlib.suppress(AssertionError):
        wait_until(waiting, lambda left: not left, what="all jobs to have a result", limit_s=limit_s)


def until_gone(observe: Callable[[], T], limit_s: float) -> T:
    """Wait until there is nothing left, up to the limit; returns what is left."""
    with contextlib.suppress(AssertionError):
        return wait_until(observe, lambda left: not left, what="processes to be gone", limit_s=limit_s)
    return observe()


def records_of(deployment: Deployment, job_ids: Iterable[str]) -> tuple[dict[str, JobRecord], dict[str, str]]:
    """Read the records of these jobs; returns them, and the reason for each that cannot be read."""
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
    """The token in the record of each job that has one."""
    found = {each: deployment.redis.hget(deployment.keys.job(each), "token") for each in job_ids}
    return {job_id: raw.decode() for job_id, raw in found.items() if raw}


def witnessed_of(deployment: Deployment, records: Mapping[str, JobRecord]) -> list[str]:
    """The jobs whose command reports its start."""
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
    """Read stored output: all of it for ``expected``; a limited amount for some of the other started jobs.

    Args:
        started: Job -> the last attempt that reported.
    """

    def chunks_of(job_id: str) -> Iterator[OutputChunk]:
        for attempt in range(1, max(1, records[job_id].attempt) + 1):
            chunks = deployment.queue.get(job_id).output(attempt=attempt)
            yield from chunks if job_id in expected else islice(chunks, MOST_CHUNKS)

    # Retried jobs first: an earlier attempt could have written to their output.
    others = sorted(set(started) - set(expected), key=lambda job_id: -started[job_id])[:MOST_OUTPUTS]
    return {job_id: list(chunks_of(job_id)) for job_id in (*expected, *others) if job_id in records}
