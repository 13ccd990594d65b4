"""``SyncQueue``: the verbs of ``Queue``, blocking."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Self, Unpack

from oneshot_queue.client.attention import OnUnattended
from oneshot_queue.client.doctor.examining import examine
from oneshot_queue.client.doctor.findings import Finding
from oneshot_queue.client.drivers import SyncDriver
from oneshot_queue.client.effects import Context
from oneshot_queue.client.options import JobOptions, checked_queue, checked_when, context_for, spec_of
from oneshot_queue.client.verbs import ls
from oneshot_queue.client.verbs.enqueue import enqueue, enqueue_many
from oneshot_queue.client.verbs.get import at_queue, find, record
from oneshot_queue.client.verbs.interrupt import InterruptReport, confirmed, interrupt
from oneshot_queue.client.verbs.logs import OutputChunk, read_output
from oneshot_queue.client.verbs.queues import all_queues, sign_of_life
from oneshot_queue.client.verbs.retry import retry
from oneshot_queue.client.verbs.wait import wait
from oneshot_queue.client.verbs.workers import live_workers
from oneshot_queue.errors import InvalidJob
from oneshot_queue.jobs import JobRecord
from oneshot_queue.outcomes import Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.store.queues import QueueCounts
from oneshot_queue.wire.presences import WorkerPresence


class SyncQueue:
    """A queue of commands, for programs without an event loop. Threads may share it.

    ::

        with SyncQueue("redis://localhost") as queue:
            job = queue.enqueue(["make", "-j4"], time_limit=600)
            outcome = job.wait()

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; by default what ``ONESHOT_QUEUE_URL`` says.
        queue: Its name.
        settings: Limits; by default what ``ONESHOT_QUEUE_…`` say.

    Raises:
        BrokerNotConfigured: There is no URL.
        InvalidSetting: A name or a setting makes no sense.
    """

    def __init__(self, url: str | None = None, *, queue: str = "default", settings: Settings | None = None) -> None:
        self._context = context_for(url, queue, settings)
        self._driver = SyncDriver(self._context.settings.url or "")

    @classmethod
    def local(cls, *, queue: str = "default", settings: Settings | None = None) -> Self:
        """The queue on this user's own local broker, which is started if it does not run."""
        from oneshot_queue.local_broker import ensure_running

        return cls(ensure_running().url, queue=queue, settings=settings)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._context.queue

    def __enter__(self) -> Self:
        self._driver.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.close()

    def enqueue(
        self,
        command: Sequence[str | bytes] | JobSpec,
        *,
        id: str | None = None,
        delay: float | None = None,
        at: datetime | None = None,
        expires: float | None = None,
        **options: Unpack[JobOptions],
    ) -> SyncJob:
        """Store a job; once this returns, it is not lost.

        Args:
            id: Makes the call idempotent: the same id twice in one queue is one job.
            delay: Seconds from now before which it is not started.
            at: The instant before which it is not started, with its time zone; instead of ``delay``.
            expires: Seconds from now after which it is not started any more, but FAILED, ``expired``.

        Raises:
            InvalidJob: A field makes no sense; nothing was stored.
            QueueFull: The queue, or the memory of the server, is at its limit; nothing was stored.
            BrokerError: The broker is out of reach or refuses.
        """
        when = checked_when(delay, at, expires, now_ms=self._context.clock.now_ms())
        job_id, created = self._driver.do(enqueue(self._context, spec_of(command, options), id, when))
        job = SyncJob(self._driver, self._context, job_id, created)
        return job if created else job.refresh()

    def enqueue_many(self, jobs: Sequence[Sequence[str | bytes] | JobSpec]) -> builtins.list[SyncJob | InvalidJob]:
        """Store many jobs, pipelined; in the place of an invalid one stands why it was refused.

        Raises:
            QueueFull: The limit was reached; the jobs before it are stored.
        """
        ids = self._driver.do(enqueue_many(self._context, jobs))
        return [each if isinstance(each, InvalidJob) else SyncJob(self._driver, self._context, each) for each in ids]

    def get(self, id: str, *, queue: str | None = None) -> SyncJob:
        """Find a job by its id or a unique prefix of it, in this queue or the one named first, then in all.

        Raises:
            InvalidSetting: That is no name of a queue.
            JobNotFound, AmbiguousJobId: No job fits, or several do.
        """
        first = self._context if queue is None else at_queue(self._context, checked_queue(queue))
        context, job_id = self._driver.do(find(first, id))
        return SyncJob(self._driver, context, job_id).refresh()

    def list(
        self,
        *,
        state: JobState | str | Collection[JobState | str] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        everywhere: bool = False,
    ) -> builtins.list[SyncJob]:
        """Jobs of this queue, or of all, newest change first."""
        states = [JobState(state)] if isinstance(state, str) else [JobState(each) for each in state]
        verb = ls.list_jobs(self._context, states=states, labels=labels, limit=limit, everywhere=everywhere)
        return [
            SyncJob(self._driver, at_queue(self._context, each.queue), each.id, record=each)
            for each in self._driver.do(verb)
        ]

    def retry(self, id: str) -> SyncJob:
        """Enqueue a new job of the same spec as an earlier one, in the earlier one's queue.

        Raises:
            JobNotFound, AmbiguousJobId: No job fits, or several do.
            QueueFull: The queue is at its limit; nothing was stored.
        """
        context, job_id = self._driver.do(retry(self._context, id))
        return SyncJob(self._driver, context, job_id)

    def interrupt(
        self,
        ids: Sequence[str],
        *,
        grace: float | None = None,
        reason: str | None = None,
        confirm: bool = True,
        timeout: float | None = None,
    ) -> builtins.list[InterruptReport]:
        """Interrupt jobs of this queue by their whole ids; each outcome is a value. See ``SyncJob.interrupt``."""
        verb = interrupt(self._context, ids, grace=grace, reason=reason, confirm=confirm, timeout=timeout)
        return self._driver.do(verb)

    def ping(self) -> None:
        """Do nothing but find out whether the broker answers.

        Raises:
            BrokerError: It is out of reach or refuses.
        """
        self._driver.do(sign_of_life())

    def unfinished(self) -> builtins.list[str]:
        """The ids of all jobs of this queue that wait or run."""
        return self._driver.do(ls.unfinished(self._context))

    def queues(self) -> builtins.list[QueueCounts]:
        """Every queue of this broker with its counts."""
        return self._driver.do(all_queues(self._context))

    def workers(self, *, everywhere: bool = True) -> builtins.list[WorkerPresence]:
        """Live workers, of all queues or of this one."""
        return self._driver.do(live_workers(self._context, None if everywhere else [self.name]))

    def doctor(self, *, repair: bool = False, everywhere: bool = True) -> builtins.list[Finding]:
        """Examine the broker and all its queues, or this one; say what is wrong and what to do.

        Args:
            repair: Mend what can be mended without a guess; otherwise nothing is written.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        only = None if everywhere else self.name
        return self._driver.do(examine(self._context, repair=repair, only=only))


@dataclass(slots=True)
class SyncJob:
    """A job in a queue: a handle to steer it by, and what was known of it at the last look.

    Attributes:
        id: Its id.
        created: Whether the ``enqueue`` that gave this handle stored it, or found it there.
        record: What is known of it; ``None`` until ``refresh``.
    """

    _driver: SyncDriver
    _context: Context
    id: str
    created: bool = True
    record: JobRecord | None = None

    @property
    def queue(self) -> str:
        """The name of its queue."""
        return self._context.queue

    @property
    def state(self) -> JobState:
        """Its state at the last look; CREATED if there was none since it was enqueued."""
        return JobState.CREATED if self.record is None else self.record.state

    def refresh(self) -> Self:
        """Look again.

        Raises:
            JobNotFound: Its record has expired.
        """
        self.record = self._driver.do(record(self._context, self.id))
        return self

    def wait(self, timeout: float | None = None, *, on_unattended: OnUnattended | None = None) -> Outcome:
        """Wait for its end. A failed job does not raise: how it ended is the outcome.

        Args:
            timeout: Seconds to wait; ``None`` is for ever.
            on_unattended: Called when nobody works on the job: no live worker on its queue, or its worker is silent.

        Raises:
            WaitTimedOut: It had not ended in time; it goes on.
            JobNotFound: Its record has expired.
        """
        self.record = self._driver.do(wait(self._context, self.id, timeout, on_unattended))
        return self.record.outcome()

    def output(
        self,
        *,
        follow: bool = False,
        after: str | None = None,
        attempt: int | None = None,
        on_unattended: OnUnattended | None = None,
    ) -> Generator[OutputChunk, None, None]:
        """Its output, chunk by chunk.

        Args:
            follow: Wait for the start, go on while it runs, with its next attempt too, and end with it.
            after: The ``cursor`` of the last chunk that was read, to go on behind it.
            attempt: Only this run of the job, from 1; without it, the newest.
        """
        verb = read_output(
            self._context, self.id, follow=follow, after=after, attempt=attempt, on_unattended=on_unattended
        )
        with closing(self._driver.stream(verb)) as chunks:
            yield from chunks

    def interrupt(
        self, *, grace: float | None = None, reason: str | None = None, timeout: float | None = None
    ) -> InterruptReport:
        """End it, wherever it runs, and return when no process of it is left.

        Args:
            grace: Seconds between SIGTERM and SIGKILL; 0 kills at once; ``None`` is the job's own.
            reason: A text for people, kept with the job.
            timeout: Seconds to wait for the end; ``None`` is the grace and 20 seconds.

        Raises:
            InvalidSetting: The grace makes no sense; nothing was written.
            JobNotFound: Its record has expired.
            InterruptNotConfirmed: It is on record, but no end was seen in time.
        """
        verb = interrupt(self._context, [self.id], grace=grace, reason=reason, timeout=timeout)
        (report,) = self._driver.do(verb)
        return confirmed(report, self.queue, timeout)
