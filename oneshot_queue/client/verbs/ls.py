"""The verbs that find and list jobs, queues and workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Ask, Context, Verb, ask, ask_all
from oneshot_queue.client.verbs.get import at_queue
from oneshot_queue.errors import MalformedData
from oneshot_queue.jobs import JobRecord
from oneshot_queue.states import JobState
from oneshot_queue.store import queues
from oneshot_queue.store.records import NEWEST, newest, parsed_record, record_parts
from oneshot_queue.store.transport.refusals import is_damage

MAX_SCANNED: Final = 10_000
"""Jobs that a listing with filters looks at before it gives up."""


def list_jobs(
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
        names = yield from ask(queues.queues(context.namespace))
        places = [at_queue(context, name) for name in names if NAME_PATTERN.fullmatch(name)]
    sources = [(place, state) for place in places for state in (list(states) or list(JobState))]
    kept: list[JobRecord] = []
    rows: dict[tuple[str, str], tuple[int, Context]] = {}
    start, page = 0, limit if not wanted else max(limit, 200)
    while len(kept) < limit and start < MAX_SCANNED:
        answers = yield from ask_all([newest(place.keys, state, start, page) for place, state in sources])
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
        while rows := (yield from ask(newest(context.keys, state, start, NEWEST))):
            ids.update({job_id: None for _, job_id in rows})
            start += NEWEST
    return list(ids)


def _records(jobs: list[tuple[Context, str]]) -> Verb[list[JobRecord]]:
    found_records: list[JobRecord] = []
    calls = [call for place, job_id in jobs for call in record_parts(place.keys, job_id)]
    answers: list[object] = yield Ask(calls)
    for index, (place, job_id) in enumerate(jobs):
        parts = answers[3 * index : 3 * index + 3]
        if refusals := [part for part in parts if isinstance(part, Exception)]:
            if isinstance(refusals[0], MalformedData) or is_damage(refusals[0]):
                continue
            raise refusals[0]
        try:
            known = parsed_record(place.keys, job_id, parts)
        except MalformedData:
            continue
        if known is not None:
            found_records.append(known)
    return found_records
