"""The verbs that wait for something: a job's end, an interrupt's effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from oneshot_queue.client.effects import Context, Verb
from oneshot_queue.client.presences import workers_of
from oneshot_queue.states import JobState
from oneshot_queue.store.leases import worker_of
from oneshot_queue.store.records import JobStatus

CHECK_WORKERS_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Unattended:
    """A job that somebody waits for, and nobody works on.

    Attributes:
        worker: The worker that holds the job and gives no sign of life; ``None`` if the job waits and its queue has no
            live worker.
    """

    job_id: str
    queue: str
    worker: str | None


OnUnattended = Callable[[Unattended], None]


class Attention:
    """Says at once, and then once in a while, when nobody works on a job that somebody waits for."""

    def __init__(self, context: Context, job_id: str, tell: OnUnattended | None) -> None:
        self._context = context
        self._job_id = job_id
        self._tell = tell
        self._next_check = context.clock.monotonic()
        self._told: Unattended | None = None

    def check(self, seen: JobStatus) -> Verb[None]:
        """Look for a live worker, if it is time to."""
        now = self._context.clock.monotonic()
        if self._tell is None or now < self._next_check or seen.state is None or seen.state.is_final:
            return
        self._next_check = now + CHECK_WORKERS_S
        workers = yield from workers_of(self._context, [self._context.queue])
        if seen.state is JobState.CREATED:
            attended = any(each.may_take(self._job_id) for each in workers)
            news = None if attended else Unattended(self._job_id, self._context.queue, None)
        else:
            attended = any(each.id == worker_of(seen.lease) for each in workers)
            news = None if attended else Unattended(self._job_id, self._context.queue, seen.worker)
        if news is not None and news != self._told:
            self._tell(news)
        self._told = news
