"""The verbs that wait for something: a job's end, an interrupt's effect."""

from __future__ import annotations

from typing import Final

from oneshot_queue.client.attention import Attention, OnUnattended
from oneshot_queue.client.effects import Context, Hear, Verb, patiently
from oneshot_queue.client.verbs.get import record
from oneshot_queue.errors import JobNotFound, WaitTimedOut
from oneshot_queue.jobs import JobRecord
from oneshot_queue.store import records

LOOK_AGAIN_S: Final = 1.0
"""An announcement can be lost; so often a waiting verb looks for itself."""


def wait(
    context: Context, job_id: str, timeout: float | None = None, on_unattended: OnUnattended | None = None
) -> Verb[JobRecord]:
    """Wait for a job's end.

    Raises:
        JobNotFound: There is no such job.
        WaitTimedOut: It had not ended within ``timeout`` seconds; it goes on.
    """
    deadline = None if timeout is None else context.clock.monotonic() + timeout
    attention = Attention(context, job_id, on_unattended)
    while True:
        (seen,) = yield from patiently(context, [records.job_status(context.keys, job_id)], deadline)
        if seen.state is None:
            raise JobNotFound(job_id, [context.queue])
        if seen.state.is_final:
            return (yield from record(context, job_id))
        yield from attention.check(seen)
        left = LOOK_AGAIN_S if deadline is None else min(LOOK_AGAIN_S, deadline - context.clock.monotonic())
        if left <= 0:
            raise WaitTimedOut(job_id, seen.state, timeout or 0.0)
        yield Hear((context.keys.events(job_id),), left)
