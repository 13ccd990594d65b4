"""The verbs that store new jobs: one, or many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from oneshot_queue.checks import checked_id
from oneshot_queue.client.effects import Context, RunCalls, Verb
from oneshot_queue.errors import BrokerError, InvalidJob, QueueFull
from oneshot_queue.jobs import new_job_id, new_job_ids
from oneshot_queue.spec import JobSpec
from oneshot_queue.store import queues
from oneshot_queue.store.enqueue import AT_ONCE, Enqueued, Full, NewJob, When, enqueue, enqueue_many
from oneshot_queue.store.transport.refusals import is_out_of_memory

Words = Sequence[str | bytes]


def enqueue_job(
    context: Context, spec: JobSpec, job_id: str | None = None, when: When = AT_ONCE
) -> Verb[tuple[str, bool]]:
    """Store one job.

    Returns:
        Its id, and whether this call created it. Enqueueing an id again in the same queue creates no second job.

    Raises:
        InvalidJob: The id is invalid.
        QueueFull: The queue or the server's memory is at its limit.
    """
    job_id = new_job_id() if job_id is None else checked_id(job_id)
    limit = context.settings.max_queue_length
    call = enqueue(context.keys, job_id, spec, by=context.by, max_length=limit, when=when)
    answers = yield RunCalls([queues.add_queue(context.namespace, context.queue), call])
    return job_id, _created(context, answers[1])


def enqueue_jobs(context: Context, jobs: Sequence[Words | JobSpec]) -> Verb[list[str | InvalidJob]]:
    """Store many jobs, pipelined. Each job is stored completely or not at all; invalid ones do not affect the others.

    Returns:
        In the same order, the id of each job, or the ``InvalidJob`` that says why it was refused.

    Raises:
        QueueFull: The limit was reached; the jobs before it are stored.
    """
    results: list[str | InvalidJob] = []
    ids = new_job_ids(len(jobs))

    def valid() -> Iterator[NewJob]:
        for job, job_id in zip(jobs, ids, strict=True):
            try:
                spec = job if isinstance(job, JobSpec) else JobSpec(job)
            except InvalidJob as refusal:
                results.append(refusal)
                continue
            results.append(job_id)
            yield NewJob(job_id, spec)

    limit = context.settings.max_queue_length
    calls = enqueue_many(context.keys, valid(), by=context.by, max_length=limit)
    _, *answers = yield RunCalls(chain([queues.add_queue(context.namespace, context.queue)], calls))
    for answer in answers:
        for each in [answer] if isinstance(answer, Exception) else answer:
            _created(context, each)
    return results


def _created(context: Context, answer: Enqueued | Full | Exception) -> bool:
    match answer:
        case Enqueued(created):
            return created
        case Full(length):
            raise QueueFull(
                context.queue, f"{length} jobs wait or run, and the limit is {context.settings.max_queue_length}"
            )
        case BrokerError() if is_out_of_memory(answer):
            raise QueueFull(context.queue, "the broker has reached its memory limit (maxmemory)") from answer
        case _:
            raise answer
