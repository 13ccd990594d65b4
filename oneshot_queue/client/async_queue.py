"""``Queue`` and ``Job``: the client for asyncio."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Self, Unpack

from oneshot_queue.client.attention import OnUnattended
from oneshot_queue.client.doctor.examining import examine_broker
from oneshot_queue.client.doctor.findings import Finding
from oneshot_queue.client.drivers import AsyncDriver
from oneshot_queue.client.effects import Context
from oneshot_queue.client.options import JobOptions, checked_queue, checked_when, context_for, spec_of
from oneshot_queue.client.verbs.enqueue import enqueue_job, enqueue_jobs
from oneshot_queue.client.verbs.get import find_job, read_record
from oneshot_queue.client.verbs.interrupt import InterruptReport, interrupt_jobs, require_confirmation
from oneshot_queue.client.verbs.logs import OutputChunk, read_output
from oneshot_queue.client.verbs.ls import list_jobs, list_unfinished
from oneshot_queue.client.verbs.ping import ping_broker
from oneshot_queue.client.verbs.queues import list_queues
from oneshot_queue.client.verbs.retry import retry_job
from oneshot_queue.client.verbs.wait import wait_for_result
from oneshot_queue.client.verbs.workers import list_workers
from oneshot_queue.errors import InvalidJob, InvalidSetting
from oneshot_queue.jobs import JobRecord
from oneshot_queue.outcomes import Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.store.queues import QueueCounts
from oneshot_queue.wire.presences import WorkerPresence


class Queue:
    """A queue of commands, for asyncio (and anyio on its asyncio backend).

    ::

        async with Queue("redis://localhost") as queue:
            job = await queue.enqueue(["make", "-j4"], time_limit=600)
            outcome = await job.wait()

    Args:
        url: The broker's URL: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://`` or ``redis+sentinel://``.
            The default is ``ONESHOT_QUEUE_URL``.
        queue: The queue's name.
        settings: Limits and retention; by default read from the environment variables ``ONESHOT_QUEUE_…``.

    Raises:
        BrokerNotConfigured: No URL is given, and ``ONESHOT_QUEUE_URL`` is not set.
        InvalidSetting: The queue's name or a setting is invalid.
    """

    def __init__(self, url: str | None = None, *, queue: str = "default", settings: Settings | None = None) -> None:
        self._context = context_for(url, queue, settings)
        self._driver = AsyncDriver(self._context.settings.url or "")

    @classmethod
    def local(cls, *, queue: str = "default", settings: Settings | None = None) -> Self:
        """Open a queue on this user's local broker, and start that broker if it is not running.

        Raises:
            BrokerRefused: The broker's directory is not private, or no installed server can open its data.
            BrokerUnreachable: The broker did not start, or does not answer.
            InvalidSetting: The queue's name or a setting is invalid.
        """
        from oneshot_queue.local_broker import ensure_running

        return cls(ensure_running().url, queue=queue, settings=settings)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._context.queue

    async def __aenter__(self) -> Self:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise InvalidSetting("backend", "Queue needs asyncio; with anyio, run it on the asyncio backend") from None
        await self._driver.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._driver.aclose()

    async def enqueue(
        self,
        command: Sequence[str | bytes] | JobSpec,
        *,
        id: str | None = None,
        delay: float | None = None,
        at: datetime | None = None,
        expires: float | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Store a job. When this returns, the broker holds the job.

        Args:
            command: The program and its arguments, or a complete ``JobSpec``.
            id: An id of your own, which makes the call idempotent: enqueueing it again in this queue creates no second
                job and returns the existing one.
            delay: Do not start the job before this many seconds from now.
            at: Do not start the job before this time; a ``datetime`` with a time zone. Excludes ``delay``.
            expires: If the job has not started this many seconds from now, it becomes FAILED with cause ``expired``.
            options: How to run the command; see ``JobSpec``.

        Raises:
            InvalidJob: A field is invalid; nothing was stored.
            QueueFull: The queue or the server's memory is at its limit; nothing was stored.
            BrokerError: The broker cannot be reached or refuses. After a lost connection the job may have been stored;
                pass an ``id`` to retry safely.
        """
        when = checked_when(delay, at, expires, now_ms=self._context.clock.now_ms())
        job_id, created = await self._driver.do(enqueue_job(self._context, spec_of(command, options), id, when))
        job = Job(self._driver, self._context, job_id, created)
        return job if created else await job.refresh()

    async def enqueue_many(self, jobs: Sequence[Sequence[str | bytes] | JobSpec]) -> builtins.list[Job | InvalidJob]:
        """Store many jobs, pipelined. Invalid ones are not stored and do not affect the others.

        Returns:
            In the same order, a handle for each job, or the ``InvalidJob`` that says why it was refused.

        Raises:
            QueueFull: The limit was reached; the jobs before it are stored.
            BrokerError: The broker cannot be reached or refuses; some of the jobs may have been stored.
        """
        ids = await self._driver.do(enqueue_jobs(self._context, jobs))
        return [each if isinstance(each, InvalidJob) else Job(self._driver, self._context, each) for each in ids]

    async def get(self, id: str, *, queue: str | None = None) -> Job:
        """Find a job by its id, or by a unique prefix of at least 4 characters.

        Args:
            id: The id or prefix.
            queue: The queue to search first, by default this one; then all others are searched.

        Raises:
            InvalidSetting: ``queue`` is not a valid name.
            JobNotFound: No job matches.
            AmbiguousJobId: Several jobs match the prefix.
            MalformedData: The job's record cannot be parsed.
            BrokerError: The broker cannot be reached or refuses.
        """
        first = self._context if queue is None else self._context.for_queue(checked_queue(queue))
        context, job_id = await self._driver.do(find_job(first, id))
        return await Job(self._driver, context, job_id).refresh()

    async def list(
        self,
        *,
        state: JobState | str | Collection[JobState | str] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        everywhere: bool = False,
    ) -> builtins.list[Job]:
        """List jobs, most recently changed first. Jobs whose records are damaged are left out.

        Args:
            state: Only jobs in this state, or in one of these; by default in any.
            labels: Only jobs that have all of these labels.
            limit: At most this many jobs.
            everywhere: List the jobs of all queues, not only of this one.

        Raises:
            ValueError: There is no such state.
            BrokerError: The broker cannot be reached or refuses.
        """
        states = [JobState(state)] if isinstance(state, str) else [JobState(each) for each in state]
        verb = list_jobs(self._context, states=states, labels=labels, limit=limit, everywhere=everywhere)
        return [
            Job(self._driver, self._context.for_queue(each.queue), each.id, record=each)
            for each in await self._driver.do(verb)
        ]

    async def retry(self, id: str) -> Job:
        """Run a job again: enqueue a new job of the same spec, in the queue of the old one.

        Args:
            id: The old job's id, or a unique prefix of at least 4 characters.

        Raises:
            JobNotFound: No job matches, or its spec is gone.
            AmbiguousJobId: Several jobs match the prefix.
            MalformedData: The job's spec cannot be parsed.
            QueueFull: The queue or the server's memory is at its limit; nothing was stored.
            BrokerError: The broker cannot be reached or refuses.
        """
        context, job_id = await self._driver.do(retry_job(self._context, id))
        return Job(self._driver, context, job_id)

    async def interrupt(
        self,
        ids: Sequence[str],
        *,
        grace: float | None = None,
        reason: str | None = None,
        confirm: bool = True,
        timeout: float | None = None,
    ) -> builtins.list[InterruptReport]:
        """Interrupt several jobs of this queue at once. No result raises; see ``Job.interrupt`` for one job.

        Args:
            ids: Full ids.
            grace: Seconds between SIGTERM and SIGKILL; 0 kills at once. The default is each job's own.
            reason: A text for people, stored with the job.
            confirm: Wait until the jobs have ended. If false, the result for a running job is ``recorded``.
            timeout: Seconds to wait; by default the longest grace period plus 20 seconds.

        Returns:
            A report for each id, in the same order.

        Raises:
            InvalidSetting: The grace is invalid; nothing was written.
            BrokerError: The broker cannot be reached or refuses.
        """
        verb = interrupt_jobs(self._context, ids, grace=grace, reason=reason, confirm=confirm, timeout=timeout)
        return await self._driver.do(verb)

    async def ping(self) -> None:
        """Check that the broker answers.

        Raises:
            BrokerError: It cannot be reached or refuses.
        """
        await self._driver.do(ping_broker())

    async def unfinished(self) -> builtins.list[str]:
        """List the ids of all jobs of this queue that wait or run."""
        return await self._driver.do(list_unfinished(self._context))

    async def queues(self) -> builtins.list[QueueCounts]:
        """List all queues of this broker and namespace with their counts, sorted by name."""
        return await self._driver.do(list_queues(self._context))

    async def workers(self, *, everywhere: bool = True) -> builtins.list[WorkerPresence]:
        """List live workers, sorted by name: of all queues, or only of this one."""
        return await self._driver.do(list_workers(self._context, None if everywhere else [self.name]))

    async def doctor(self, *, repair: bool = False, everywhere: bool = True) -> builtins.list[Finding]:
        """Examine the broker and its queues, and report what is wrong, what it means and what to do.

        Args:
            repair: Repair what is safe to repair automatically. If false, nothing is written.
            everywhere: Examine all queues, not only this one.

        Returns:
            The findings: those about the server first, then queue by queue.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        only = None if everywhere else self.name
        return await self._driver.do(examine_broker(self._context, repair=repair, only=only))


@dataclass(slots=True)
class Job:
    """A handle for one job: controls it, and holds the record that was last read.

    Attributes:
        id: The job's id.
        created: False if the ``enqueue`` that returned this handle found a job with the same id.
        record: The job's record as last read; ``None`` before the first ``refresh`` or ``wait``.
    """

    _driver: AsyncDriver
    _context: Context
    id: str
    created: bool = True
    record: JobRecord | None = None

    @property
    def queue(self) -> str:
        """The name of the job's queue."""
        return self._context.queue

    @property
    def state(self) -> JobState:
        """The job's state as last read; CREATED if it was never read."""
        return JobState.CREATED if self.record is None else self.record.state

    async def refresh(self) -> Self:
        """Read the job's record again, and return this handle.

        Raises:
            JobNotFound: The job's record has expired.
            MalformedData: The job's record cannot be parsed.
            BrokerError: The broker cannot be reached or refuses.
        """
        self.record = await self._driver.do(read_record(self._context, self.id))
        return self

    async def wait(self, timeout: float | None = None, *, on_unattended: OnUnattended | None = None) -> Outcome:
        """Wait until the job has ended, and return its outcome. A job that failed does not raise.

        Args:
            timeout: Seconds to wait; by default for ever.
            on_unattended: Called when no live worker attends the job: its queue has none, or the job's worker gives no
                sign of life.

        Raises:
            WaitTimedOut: The job had not ended in time; it continues.
            JobNotFound: The job's record has expired.
            MalformedData: The job's record cannot be parsed.
            BrokerError: The broker refuses, or stays unreachable for 30 seconds.
        """
        self.record = await self._driver.do(wait_for_result(self._context, self.id, timeout, on_unattended))
        return self.record.outcome()

    async def output(
        self,
        *,
        follow: bool = False,
        after: str | None = None,
        attempt: int | None = None,
        on_unattended: OnUnattended | None = None,
    ) -> AsyncGenerator[OutputChunk, None]:
        """Read the job's output, chunk by chunk.

        Args:
            follow: Wait for the job to start, and continue until it ends, across retries.
            after: The ``cursor`` of the last chunk that was read, to continue after it.
            attempt: Read only this attempt, from 1; by default the newest.
            on_unattended: As for ``wait``; only when following.

        Raises:
            JobNotFound: The job's record has expired.
            InvalidSetting: The cursor is invalid, there was no such attempt, or its output was dropped.
            MalformedData: The stored output cannot be parsed.
            BrokerError: The broker refuses, or stays unreachable for 30 seconds.
        """
        verb = read_output(
            self._context, self.id, follow=follow, after=after, attempt=attempt, on_unattended=on_unattended
        )
        async with aclosing(self._driver.stream(verb)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def interrupt(
        self, *, grace: float | None = None, reason: str | None = None, timeout: float | None = None
    ) -> InterruptReport:
        """Interrupt the job, wherever it runs, and wait until its processes are gone.

        A job that has already ended, or ends in another way meanwhile, does not raise: see the report's ``result``.

        Args:
            grace: Seconds between SIGTERM and SIGKILL; 0 kills at once. The default is the job's own.
            reason: A text for people, stored with the job.
            timeout: Seconds to wait for the end; by default the grace period plus 20 seconds.

        Raises:
            InvalidSetting: The grace is invalid; nothing was written.
            JobNotFound: The job's record has expired.
            InterruptNotConfirmed: The request is stored, but the job did not end in time.
            BrokerError: The broker cannot be reached or refuses.
        """
        verb = interrupt_jobs(self._context, [self.id], grace=grace, reason=reason, timeout=timeout)
        (report,) = await self._driver.do(verb)
        return require_confirmation(report, self.queue, timeout)
