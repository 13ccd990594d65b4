"""The verbs that find one job, by its id or a prefix, and read its record."""

from __future__ import annotations

from typing import Final

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Context, Verb, run_call, run_calls
from oneshot_queue.errors import AmbiguousJobId, JobNotFound
from oneshot_queue.jobs import JobRecord
from oneshot_queue.states import JobState
from oneshot_queue.store import queues, records
from oneshot_queue.store.records import NEWEST

MIN_PREFIX: Final = 4


def find_job(context: Context, job_id: str) -> Verb[tuple[Context, str]]:
    """Find a job by its id, or by a prefix of at least 4 characters: in this queue first, then in all others.

    Returns:
        The context of the job's queue, and the full id.

    Raises:
        JobNotFound: No job matches.
        AmbiguousJobId: Several jobs match the prefix.
    """
    if not NAME_PATTERN.fullmatch(job_id):
        raise JobNotFound(job_id, [context.queue])
    names = yield from run_call(queues.queues(context.namespace))
    others = [name for name in names if name != context.queue and NAME_PATTERN.fullmatch(name)]
    contexts = [context, *(context.for_queue(name) for name in others)]
    answers = yield from run_calls([records.exists(each.keys, job_id) for each in contexts])
    for each, exists in zip(contexts, answers, strict=True):
        if exists:
            return each, job_id
    matches: dict[str, Context] = {}
    if len(job_id) >= MIN_PREFIX:
        for each in contexts:
            calls = [records.newest(each.keys, state, 0, NEWEST) for state in JobState]
            for rows in (yield from run_calls(calls)):
                matches.update({full: each for _, full in rows if full.startswith(job_id)})
    if len(matches) > 1:
        raise AmbiguousJobId(job_id, sorted(matches))
    for full, each in matches.items():
        return each, full
    raise JobNotFound(job_id, [each.queue for each in contexts], least=MIN_PREFIX)


def read_record(context: Context, job_id: str) -> Verb[JobRecord]:
    """Read the record of a job, by its full id.

    Raises:
        JobNotFound: It never existed, or has expired.
        MalformedData: Its record cannot be parsed.
    """
    answers = yield from run_calls(records.record_parts(context.keys, job_id))
    known = records.parsed_record(context.keys, job_id, answers)
    if known is None:
        raise JobNotFound(job_id, [context.queue])
    return known
