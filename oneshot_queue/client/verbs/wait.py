"""The verb that waits for a job's result."""

from __future__ import annotations

import math

from oneshot_queue.client.attention import OnUnattended, UnattendedNotifier
from oneshot_queue.client.effects import Context, Verb, read_with_retries, wait_for_message
from oneshot_queue.client.verbs.get import read_record
from oneshot_queue.errors import JobNotFound, WaitTimedOut
from oneshot_queue.jobs import JobRecord
from oneshot_queue.store import records


def wait_for_result(
    context: Context, job_id: str, timeout: float | None = None, on_unattended: OnUnattended | None = None
) -> Verb[JobRecord]:
    """Wait until a job has ended, and return its record.

    Raises:
        JobNotFound: There is no such job.
        WaitTimedOut: It had not ended within ``timeout`` seconds; it continues.
    """
    deadline = None if timeout is None else context.clock.monotonic() + timeout
    notifier = UnattendedNotifier(context, job_id, on_unattended)
    while True:
        (seen,) = yield from read_with_retries(context, [records.job_status(context.keys, job_id)], deadline)
        if seen.state is None:
            raise JobNotFound(job_id, [context.queue])
        if seen.state.is_final:
            return (yield from read_record(context, job_id))
        yield from notifier.check(seen)
        left_s = math.inf if deadline is None else deadline - context.clock.monotonic()
        if left_s <= 0:
            raise WaitTimedOut(job_id, seen.state, timeout or 0.0)
        yield from wait_for_message([context.keys.events(job_id)], left_s)
