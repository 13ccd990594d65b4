"""The verbs that put jobs into a queue."""

from __future__ import annotations

from oneshot_queue.client.effects import Ask, Context, Verb
from oneshot_queue.client.verbs.enqueue import enqueue
from oneshot_queue.client.verbs.get import find
from oneshot_queue.errors import JobNotFound
from oneshot_queue.store import records
from oneshot_queue.wire.specs import unpack_spec


def retry(context: Context, job_id: str) -> Verb[tuple[Context, str]]:
    """Enqueue a new job of the same spec, in the queue of the old one.

    Raises:
        JobNotFound: There is no such job, or its spec can no longer be read.
    """
    where, job_id = yield from find(context, job_id)
    calls = [*records.packed_spec_parts(where.keys, job_id), records.packed_stdin(where.keys, job_id)]
    *parts, stdin = yield Ask(calls)
    spec = records.packed_spec(parts)
    if spec is None:
        raise JobNotFound(job_id, [where.queue])
    again = unpack_spec(spec, stdin if isinstance(stdin, bytes) else b"").as_retry_of(job_id)
    new_id, _ = yield from enqueue(where, again)
    return where, new_id
