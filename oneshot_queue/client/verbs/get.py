"""The verbs that find and list jobs, queues and workers."""

from __future__ import annotations

from typing import Final

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Context, Verb, ask, ask_all
from oneshot_queue.errors import AmbiguousJobId, JobNotFound
from oneshot_queue.jobs import JobRecord
from oneshot_queue.states import JobState
from oneshot_queue.store import queues, records
from oneshot_queue.store.records import NEWEST

MIN_PREFIX: Final = 4


def find(context: Context, job_id: str) -> Verb[tuple[Context, str]]:
    """Find a job by its id, or by a prefix of at least 4 characters: here first, then in every queue.

    Returns:
        The context of the job's queue, and its whole id.

    Raises:
        JobNotFound, AmbiguousJobId: No job fits, or several do.
    """
    if not NAME_PATTERN.fullmatch(job_id):
        raise JobNotFound(job_id, [context.queue])
    names = yield from ask(queues.queues(context.namespace))
    others = [name for name in names if name != context.queue and NAME_PATTERN.fullmatch(name)]
    contexts = [context, *(at_queue(context, name) for name in others)]
    answers = yield from ask_all([records.exists(each.keys, job_id) for each in contexts])
    for each, exists in zip(contexts, answers, strict=True):
        if exists:
            return each, job_id
    matches: dict[str, Context] = {}
    if len(job_id) >= MIN_PREFIX:
        for each in contexts:
            calls = [records.newest(each.keys, state, 0, NEWEST) for state in JobState]
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
    answers = yield from ask_all(records.record_parts(context.keys, job_id))
    known = records.parsed_record(context.keys, job_id, answers)
    if known is None:
        raise JobNotFound(job_id, [context.queue])
    return known


def at_queue(context: Context, queue: str) -> Context:
    """The same context for another queue."""
    return Context(context.settings, queue, context.clock, context.by)
