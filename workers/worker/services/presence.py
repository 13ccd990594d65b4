"""Shows that a worker lives, and what it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import anyio

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.store import presence
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.wire.presences import WorkerPresence
from oneshot_queue.workers.worker.outages import level_of
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.server_clock import ServerClock

logger = logging.getLogger(__name__)

PERIOD_S: Final = presence.PRESENCE_TTL_S / 3
NEWS_S: Final = 1.0
"""Least time between two signs of life, however often the running jobs change."""


class Presence:
    """Gives a sign of life every few seconds, and sooner when the running jobs change."""

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        namespace: str,
        held_jobs: HeldJobs,
        server_clock: ServerClock,
        worker_id: str,
        name: str,
        host: str,
        pid: int,
        queues: Sequence[str],
        concurrency: int,
        only_job: str | None,
        supervisor: str = "",
        process: int = 1,
        processes: int = 1,
        layer: str = "",
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._held_jobs = held_jobs
        self._server_clock = server_clock
        self._worker_id = worker_id
        self._name = name
        self._host = host
        self._pid = pid
        self._queues = tuple(queues)
        self._concurrency = concurrency
        self._only_job = only_job
        self._supervisor = supervisor
        self._process = process
        self._processes = processes
        self._layer = layer
        self._started_ms: int | None = None
        self._shown: tuple[int, tuple[str, ...]] | None = None
        self._nap: anyio.CancelScope | None = None

    def drain(self) -> None:
        """Show from now on that it takes no more jobs."""
        self._concurrency = 0
        if self._nap is not None:
            self._nap.cancel()

    async def run(self) -> None:
        """Show it for ever."""
        failures = 0
        while True:
            try:
                await self.run_once()
                failures = 0
            except OneshotQueueError as problem:
                failures += 1
                level = level_of(problem, failures)
                logger.log(level, "cannot give a sign of life: %s", problem)
            await anyio.sleep(NEWS_S)
            if self._shown == (self._concurrency, self._running()):
                with anyio.move_on_after(PERIOD_S - NEWS_S) as self._nap:
                    await self._held_jobs.wait_for_change()

    async def run_once(self) -> int:
        """Give one sign of life; returns how many jobs it names.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        now_ms = self._server_clock.now_ms()
        if self._started_ms is None:
            self._started_ms = now_ms
        running = self._running()
        shown = WorkerPresence(
            id=self._worker_id,
            name=self._name,
            host=self._host,
            pid=self._pid,
            queues=self._queues,
            concurrency=self._concurrency,
            running=running,
            started_ms=self._started_ms,
            seen_ms=now_ms,
            only_job=self._only_job,
            supervisor=self._supervisor,
            process=self._process,
            processes=self._processes,
            layer=self._layer,
        )
        await self._connection.run(presence.show_presence(self._namespace, shown))
        self._shown = (shown.concurrency, running)
        return len(running)

    def _running(self) -> tuple[str, ...]:
        return tuple(held.job_id for held in self._held_jobs)

    async def end(self) -> None:
        """Say goodbye.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        await self._connection.run(presence.end_presence(self._namespace, self._worker_id))
