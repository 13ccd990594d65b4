"""Whether a live worker attends a job that a caller waits for, and how the caller is notified if none does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from oneshot_queue.client.effects import Context, Verb
from oneshot_queue.client.presences import live_workers
from oneshot_queue.states import JobState
from oneshot_queue.store.leases import worker_of
from oneshot_queue.store.records import JobStatus

CHECK_WORKERS_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Unattended:
    """A job that a caller waits for and no live worker attends.

    Attributes:
        job_id: The job.
        queue: Its queue.
        worker: Name of the worker that holds the job but gives no sign of life. ``None``: the job waits, and its queue
            has no live worker that would claim it.
    """

    job_id: str
    queue: str
    worker: str | None


OnUnattended = Callable[[Unattended], None]


class UnattendedNotifier:
    """Calls back when no live worker attends a job: at the first check, and whenever the finding changes."""

    def __init__(self, context: Context, job_id: str, on_unattended: OnUnattended | None) -> None:
        self._context = context
        self._job_id = job_id
        self._on_unattended = on_unattended
        self._next_check = context.clock.monotonic()
        self._reported: Unattended | None = None

    def check(self, seen: JobStatus) -> Verb[None]:
        """Look for a live worker, at most every ``CHECK_WORKERS_S``."""
        if self._on_unattended is None or seen.state is None or seen.state.is_final:
            return
        now = self._context.clock.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_WORKERS_S
        workers = yield from live_workers(self._context, [self._context.queue])
        if seen.state is JobState.CREATED:
            attended = any(each.may_take(self._job_id) for each in workers)
            finding = None if attended else Unattended(self._job_id, self._context.queue, None)
        else:
            attended = any(each.id == worker_of(seen.lease) for each in workers)
            finding = None if attended else Unattended(self._job_id, self._context.queue, seen.worker)
        if finding is not None and finding != self._reported:
            self._on_unattended(finding)
        self._reported = finding
