"""The verbs that find and list jobs, queues and workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Ask, Context, Verb, ask, ask_all
from oneshot_queue.errors import AmbiguousJobId, JobNotFound, MalformedData
from oneshot_queue.jobs import JobRecord
from oneshot_queue.states import JobState
from oneshot_queue.store import inspection, lease_store
from oneshot_queue.store.inspection import NEWEST, QueueCounts
from oneshot_queue.store.refusals import is_damage
from oneshot_queue.wire import WorkerPresence

MIN_PREFIX: Final = 4
MAX_SCANNED: Final = 10_000
"""Jobs that a listing with filters looks at before it gives up."""


def found(context: Context, job_id: str) -> Verb[tuple[Context, str]]:
    """Find a job by its id, or by a prefix of at least 4 characters: here first, then in every queue.

    Returns:
        The context of the job's queue, and its whole id.

    Raises:
        JobNotFound, AmbiguousJobId: No job fits, or several do.
    """
    if not NAME_PATTERN.fullmatch(job_id):
        raise JobNotFound(job_id, [context.queue])
    names = yield from ask(inspection.queues(context.namespace))
    others = [name for name in names if name != context.queue and NAME_PATTERN.fullmatch(name)]
    contexts = [context, *(at_queue(context, name) for name in others)]
    answers = yield from ask_all([inspection.exists(each.keys, job_id) for each in contexts])
    for each, exists in zip(contexts, answers, strict=True):
        if exists:
            return each, job_id
    matches: dict[str, Context] = {}
    if len(job_id) >= MIN_PREFIX:
        for each in contexts:
            calls = [inspection.newest(each.keys, state, 0, NEWEST) for state in JobState]
            for rows in (yield from ask_all(calls)):
                matches.update({full: each for _, full in rows if full.startswith(job_id)})
    if len(matches) > 1:
        raise AmbiguousJobId(job_id, sorted(matches))
    for full, each in matches.items():
        return each, full
    raise JobNotFound(job_id, [each.queue for each in contexts], least=MIN_PREFIX)


def record(context: Context, job_id: str) -> Verb[JobRecord]:
    """All that is known of a job, by its whole id.

    Raises:
        JobNotFound: It is gone.
        MalformedData: Its record makes no sense.
    """
    answers = yield from ask_all(inspection.record_parts(context.keys, job_id))
    known = inspection.parsed_record(context.keys, job_id, answers)
    if known is None:
        raise JobNotFound(job_id, [context.queue])
    return known


def listed(
    context: Context,
    *,
    states: Collection[JobState] = (),
    labels: Mapping[str, str] | None = None,
    limit: int = 50,
    everywhere: bool = False,
) -> Verb[list[JobRecord]]:
    """Jobs of this queue or of all, newest change first; damaged records are left out."""
    wanted = dict(labels or {})
    places = [context]
    if everywhere:
        names = yield from ask(inspection.queues(context.namespace))
        places = [at_queue(context, name) for name in names if NAME_PATTERN.fullmatch(name)]
    sources = [(place, state) for place in places for state in (list(states) or list(JobState))]
    kept: list[JobRecord] = []
    rows: dict[tuple[str, str], tuple[int, Context]] = {}
    start, page = 0, limit if not wanted else max(limit, 200)
    while len(kept) < limit and start < MAX_SCANNED:
        answers = yield from ask_all([inspection.newest(place.keys, state, start, page) for place, state in sources])
        for (place, _), answer in zip(sources, answers, strict=True):
            # By id: a job that changes its state meanwhile is seen in both.
            rows.update({(place.queue, job_id): (at_ms, place) for at_ms, job_id in answer})
        # A full page may go on: what is older than its last row waits, or it would overtake what is on the next page.
        known_from = max((answer[-1][0] for answer in answers if len(answer) == page), default=0)
        settled = sorted(
            (row for row in rows if rows[row][0] >= known_from), key=lambda row: rows[row][0], reverse=True
        )
        jobs = [(rows.pop(row)[1], row[1]) for row in settled]
        for first in range(0, len(jobs), page):
            records = yield from _records(jobs[first : first + page])
            kept += (each for each in records if wanted.items() <= (each.spec.labels.items() if each.spec else set()))
            if len(kept) >= limit:
                break
        if not known_from:
            break
        start += page
    return sorted(kept, key=lambda each: each.changed_ms, reverse=True)[:limit]


def unfinished(context: Context) -> Verb[list[str]]:
    """The ids of all jobs of this queue that wait or run."""
    ids: dict[str, None] = {}
    for state in (JobState.CREATED, JobState.RUNNING, JobState.IDLE):
        start = 0
        while rows := (yield from ask(inspection.newest(context.keys, state, start, NEWEST))):
            ids.update({job_id: None for _, job_id in rows})
            start += NEWEST
    return list(ids)


def all_queues(context: Context) -> Verb[list[QueueCounts]]:
    """Every queue with its counts, by name."""
    counts: list[QueueCounts] = []
    for name in (yield from ask(inspection.queues(context.namespace))):
        if NAME_PATTERN.fullmatch(name):
            keys = context.keys_of(name)
            counts.append(inspection.queue_counts(keys, (yield from ask_all(inspection.counts(keys)))))
    return counts


def sign_of_life() -> Verb[None]:
    """Ask the broker for no more than an answer."""
    yield from ask(inspection.ping())


def live_workers(context: Context, queues: Collection[str] | None = None) -> Verb[list[WorkerPresence]]:
    """Workers that gave a sign of life lately, of these queues or of all, by name."""
    if queues is None:
        queues = [
            name for name in (yield from ask(inspection.queues(context.namespace))) if NAME_PATTERN.fullmatch(name)
        ]
    calls = [lease_store.leases(context.keys_of(name)) for name in queues]
    leases = [lease for answer in (yield from ask_all(calls)) for lease in answer]
    ids = sorted({lease_store.worker_of(lease) for lease in leases})
    if not ids:
        return []
    workers = yield from ask(lease_store.presences(context.namespace, ids))
    return sorted(workers, key=lambda worker: (worker.name, worker.id))


def at_queue(context: Context, queue: str) -> Context:
    """The same context for another queue."""
    return Context(context.settings, queue, context.clock, context.by)


def _records(jobs: list[tuple[Context, str]]) -> Verb[list[JobRecord]]:
    found_records: list[JobRecord] = []
    calls = [call for place, job_id in jobs for call in inspection.record_parts(place.keys, job_id)]
    answers: list[object] = yield Ask(calls)
    for index, (place, job_id) in enumerate(jobs):
        parts = answers[3 * index : 3 * index + 3]
        if refusals := [part for part in parts if isinstance(part, Exception)]:
            if isinstance(refusals[0], MalformedData) or is_damage(refusals[0]):
                continue
            raise refusals[0]
        try:
            known = inspection.parsed_record(place.keys, job_id, parts)
        except MalformedData:
            continue
        if known is not None:
            found_records.append(known)
    return found_records
