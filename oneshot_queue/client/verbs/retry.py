"""The verb that runs a job again, as a new job of the same spec."""

from __future__ import annotations

from oneshot_queue.client.effects import Context, RunCalls, Verb
from oneshot_queue.client.verbs.enqueue import enqueue_job
from oneshot_queue.client.verbs.get import find_job
from oneshot_queue.errors import JobNotFound
from oneshot_queue.store import records
from oneshot_queue.wire.specs import unpack_spec


def retry_job(context: Context, job_id: str) -> Verb[tuple[Context, str]]:
    """Enqueue a new job of the same spec, in the queue of the old one.

    Returns:
        The context of that queue, and the id of the new job.

    Raises:
        JobNotFound: There is no such job, or its spec is gone.
        AmbiguousJobId: Several jobs match the prefix.
        MalformedData: Its spec cannot be parsed.
        QueueFull: The queue or the server's memory is at its limit.
    """
    source, job_id = yield from find_job(context, job_id)
    calls = [*records.packed_spec_parts(source.keys, job_id), records.packed_stdin(source.keys, job_id)]
    *parts, stdin = yield RunCalls(calls)
    spec = records.packed_spec(parts)
    if spec is None:
        raise JobNotFound(job_id, [source.queue])
    retry = unpack_spec(spec, stdin if isinstance(stdin, bytes) else b"").as_retry_of(job_id)
    new_id, _ = yield from enqueue_job(source, retry)
    return source, new_id
