"""The verbs that list jobs: filtered and newest first, or all that are unfinished."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Context, RunCalls, Verb, run_call, run_calls
from oneshot_queue.errors import MalformedData
from oneshot_queue.jobs import JobRecord
from oneshot_queue.states import JobState
from oneshot_queue.store import queues
from oneshot_queue.store.records import NEWEST, newest, parsed_record, record_parts
from oneshot_queue.store.transport.refusals import is_damage

MAX_SCANNED: Final = 10_000
"""A listing reads at most this many jobs of each queue and state."""


def list_jobs(
    context: Context,
    *,
    states: Collection[JobState] = (),
    labels: Mapping[str, str] | None = None,
    limit: int = 50,
    everywhere: bool = False,
) -> Verb[list[JobRecord]]:
    """List jobs of this queue or of all, most recently changed first. Damaged records are left out."""
    wanted = dict(labels or {})
    contexts = [context]
    if everywhere:
        names = yield from run_call(queues.queues(context.namespace))
        contexts = [context.for_queue(name) for name in names if NAME_PATTERN.fullmatch(name)]
    sources = [(each, state) for each in contexts for state in (list(states) or list(JobState))]
    kept: list[JobRecord] = []
    rows: dict[tuple[str, str], tuple[int, Context]] = {}
    start, page = 0, limit if not wanted else max(limit, 200)
    while len(kept) < limit and start < MAX_SCANNED:
        answers = yield from run_calls([newest(each.keys, state, start, page) for each, state in sources])
        for (source, _), answer in zip(sources, answers, strict=True):
            # Keyed by id: a job that changes its state meanwhile appears in both indexes.
            rows.update({(source.queue, job_id): (at_ms, source) for at_ms, job_id in answer})
        # A full page may be followed by more rows. Hold back rows older than its last one until the next page is read:
        # that page may hold newer ones.
        known_from = max((answer[-1][0] for answer in answers if len(answer) == page), default=0)
        complete = sorted(
            (row for row in rows if rows[row][0] >= known_from), key=lambda row: rows[row][0], reverse=True
        )
        jobs = [(rows.pop(row)[1], row[1]) for row in complete]
        for first in range(0, len(jobs), page):
            records = yield from _records(jobs[first : first + page])
            kept += (each for each in records if wanted.items() <= (each.spec.labels.items() if each.spec else set()))
            if len(kept) >= limit:
                break
        if not known_from:
            break
        start += page
    return sorted(kept, key=lambda each: each.changed_ms, reverse=True)[:limit]


def list_unfinished(context: Context) -> Verb[list[str]]:
    """List the ids of all jobs of this queue that wait or run."""
    ids: dict[str, None] = {}
    for state in (JobState.CREATED, JobState.RUNNING, JobState.IDLE):
        start = 0
        while rows := (yield from run_call(newest(context.keys, state, start, NEWEST))):
            ids.update({job_id: None for _, job_id in rows})
            start += NEWEST
    return list(ids)


def _records(jobs: list[tuple[Context, str]]) -> Verb[list[JobRecord]]:
    records: list[JobRecord] = []
    calls = [call for context, job_id in jobs for call in record_parts(context.keys, job_id)]
    answers: list[object] = yield RunCalls(calls)
    for index, (context, job_id) in enumerate(jobs):
        parts = answers[3 * index : 3 * index + 3]
        if refusals := [part for part in parts if isinstance(part, Exception)]:
            if isinstance(refusals[0], MalformedData) or is_damage(refusals[0]):
                continue
            raise refusals[0]
        try:
            record = parsed_record(context.keys, job_id, parts)
        except MalformedData:
            continue
        if record is not None:
            records.append(record)
    return records
