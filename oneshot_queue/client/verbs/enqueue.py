"""The verbs that put jobs into a queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from oneshot_queue.checks import checked_id
from oneshot_queue.client.effects import Ask, Context, Verb
from oneshot_queue.errors import BrokerError, InvalidJob, QueueFull
from oneshot_queue.jobs import new_job_id, new_job_ids
from oneshot_queue.spec import JobSpec
from oneshot_queue.store import enqueue as enqueueing
from oneshot_queue.store import queues
from oneshot_queue.store.enqueue import AT_ONCE, Enqueued, Full, NewJob, When
from oneshot_queue.store.transport.refusals import is_out_of_memory

Words = Sequence[str | bytes]


def enqueue(context: Context, spec: JobSpec, job_id: str | None = None, when: When = AT_ONCE) -> Verb[tuple[str, bool]]:
    """Store one job.

    Returns:
        Its id, and whether this call created it: the same id twice in one queue is one job.

    Raises:
        InvalidJob: The id makes no sense.
        QueueFull: The queue or the server's memory is at its limit.
    """
    job_id = new_job_id() if job_id is None else checked_id(job_id)
    limit = context.settings.max_queue_length
    call = enqueueing.enqueue(context.keys, job_id, spec, by=context.by, max_length=limit, when=when)
    answers = yield Ask([queues.add_queue(context.namespace, context.queue), call])
    return job_id, _created(context, answers[1])


def enqueue_many(context: Context, jobs: Sequence[Words | JobSpec]) -> Verb[list[str | InvalidJob]]:
    """Store many jobs, pipelined: each whole or not at all, the valid ones whatever the others are.

    Returns:
        In the same order, the id of each job, or why it was refused.

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
    submits = enqueueing.enqueue_many(context.keys, valid(), by=context.by, max_length=limit)
    _, *answers = yield Ask(chain([queues.add_queue(context.namespace, context.queue)], submits))
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
            raise QueueFull(context.queue, "the memory of the broker is used up (maxmemory)") from answer
        case _:
            raise answer
