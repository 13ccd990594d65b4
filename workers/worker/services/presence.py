"""Publishes this worker's presence: that it is alive, and which jobs it runs."""

from __future__ import annotations

from typing import Final

import anyio

from oneshot_queue.store import presence
from oneshot_queue.wire.presences import WorkerPresence
from oneshot_queue.workers.ipc.messages import Assignment
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs

PERIOD_S: Final = presence.PRESENCE_TTL_S / 3
SHORTEST_PERIOD_S: Final = 1.0
"""Shortest time between two updates, however often the running jobs change."""


class Presence:
    """Updates this worker's presence every few seconds, and sooner when the running jobs change.

    Args:
        concurrency: Maximum number of concurrent jobs.
        containment: How its processes are ended if it dies: ``cgroup`` or ``subreaper``.
    """

    def __init__(
        self, session: Session, held_jobs: HeldJobs, assignment: Assignment, *, concurrency: int, containment: str
    ) -> None:
        self._connection = session.connection
        self._identity = session.identity
        self._namespace = session.settings.namespace
        self._server_clock = session.server_clock
        self._held_jobs = held_jobs
        self._assignment = assignment
        self._concurrency = concurrency
        self._containment = containment
        self._started_ms: int | None = None
        self._shown: tuple[int, tuple[str, ...]] | None = None
        self._wait: anyio.CancelScope | None = None

    def drain(self) -> None:
        """Show from now on that this worker claims no more jobs."""
        self._concurrency = 0
        if self._wait is not None:
            self._wait.cancel()

    async def run(self) -> None:
        """Update the presence until cancelled; the first time after ``SHORTEST_PERIOD_S``."""
        await repeat(self.run_once, self._wait_until_due, "update the presence of this worker")

    async def _wait_until_due(self) -> None:
        await anyio.sleep(SHORTEST_PERIOD_S)
        if self._shown == (self._concurrency, self._running()):
            with anyio.move_on_after(PERIOD_S - SHORTEST_PERIOD_S) as self._wait:
                await self._held_jobs.wait_for_change()

    async def run_once(self) -> int:
        """Update the presence once; returns how many jobs it names.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        now_ms = self._server_clock.now_ms()
        if self._started_ms is None:
            self._started_ms = now_ms
        running = self._running()
        options = self._assignment.options
        shown = WorkerPresence(
            id=self._identity.worker_id,
            name=self._identity.name,
            host=self._identity.host,
            pid=self._identity.pid,
            queues=options.queues,
            concurrency=self._concurrency,
            running=running,
            started_ms=self._started_ms,
            seen_ms=now_ms,
            only_job=options.only_job,
            supervisor=self._assignment.supervisor,
            process=self._assignment.process,
            processes=self._assignment.processes,
            layer=self._containment,
        )
        await self._connection.run(presence.show_presence(self._namespace, shown))
        self._shown = (shown.concurrency, running)
        return len(running)

    def _running(self) -> tuple[str, ...]:
        return tuple(held.job_id for held in self._held_jobs)

    async def end(self) -> None:
        """Remove the presence.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        await self._connection.run(presence.end_presence(self._namespace, self._identity.worker_id))
