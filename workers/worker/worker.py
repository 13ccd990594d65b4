"""Starts the parts of a worker, and stops them in order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Protocol

import anyio

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.store.scripts import load_all
from oneshot_queue.store.transport.server_facts import eviction_problem
from oneshot_queue.urls import shown_url
from oneshot_queue.workers.ipc.messages import Stage
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.worker.outages import OutageLog
from oneshot_queue.workers.worker.report import Report
from oneshot_queue.workers.worker.services.claimer import Claimer
from oneshot_queue.workers.worker.services.lease_keeper import LeaseKeeper
from oneshot_queue.workers.worker.services.presence import Presence
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.shutdown import Shutdown
from oneshot_queue.workers.worker.state.slots import Slots
from oneshot_queue.workers.worker.stop_state import StopState
from oneshot_queue.workers.worker.supervisor_link import SupervisorLink


class Service(Protocol):
    """One duty of a worker."""

    async def run(self) -> None:
        """Run until cancelled."""


class Worker:
    """Claims, runs, records and interrupts jobs until it has stopped.

    Args:
        services: Run beside the claimers, from registration until the last result is recorded.
    """

    def __init__(
        self,
        session: Session,
        options: WorkerOptions,
        *,
        link: SupervisorLink,
        stopping: StopState,
        engine: AsyncOrchestrator,
        slots: Slots,
        lease_keeper: LeaseKeeper,
        presence: Presence,
        claimers: Sequence[Claimer],
        services: Sequence[Service],
        shutdown: Shutdown,
        report: Report,
    ) -> None:
        self._session = session
        self._options = options
        self._link = link
        self._stopping = stopping
        self._engine = engine
        self._slots = slots
        self._lease_keeper = lease_keeper
        self._presence = presence
        self._claimers = claimers
        self._services = services
        self._shutdown = shutdown
        self._report = report

    async def run(self) -> None:
        """Work until stopped, or in burst mode until nothing is left to do.

        Raises:
            BrokerError: The broker could not be reached, or refused, at the start; or it refuses for good.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self._stopping.catching_signals())
            load_all()
            stack.callback(self._link.close)
            stack.push_async_callback(self._session.connection.aclose)
            for claimer in self._claimers:
                stack.push_async_callback(claimer.aclose)
            await self._lease_keeper.register()
            # Deregister however the worker ends: one that is gone must not be shown as alive.
            stack.push_async_callback(self._shutdown.deregister)
            self._check_server()
            # An earlier failure ends the process, which reports it itself.
            self._session.connection.on_exchange(OutageLog(self._session.clock).record)
            await self._presence.run_once()
            self._link.opened()
            self._report.opened(
                name=self._session.identity.name,
                broker=shown_url(self._options.url),
                queues=self._options.queues,
                slots=self._engine.max_concurrent,
            )
            async with anyio.create_task_group() as services:
                services.start_soon(self._stopping.count_signals)
                services.start_soon(self._link.run, self._stopping)
                services.start_soon(self._abandon_claims_when_killing)
                for service in self._services:
                    services.start_soon(service.run)
                # The engine ends first: the services record what it still reports.
                async with self._engine:
                    await self._claim_until_stopped()
                    self._presence.drain()
                    await self._shutdown.end_jobs(self._options.drain_timeout_s)
                await self._shutdown.flush()
                services.cancel_scope.cancel()
        if self._stopping.refusal is not None:
            raise self._stopping.refusal

    def _check_server(self) -> None:
        facts = self._session.connection.server
        problem = None if facts is None else eviction_problem(facts)
        if problem is None:
            return
        if not self._options.allows_eviction:
            advice = "or, if jobs may be lost: --allow-eviction"
            raise BrokerRefused(shown_url(self._options.url), problem, advice, needs_person=True)
        self._report.warn(f"worker: {problem}")

    async def _claim_until_stopped(self) -> None:
        async with anyio.create_task_group() as claiming:

            async def stop_when_asked() -> None:
                await self._stopping.wait_for(Stage.FINISHING)
                claiming.cancel_scope.cancel()

            async def claim_all() -> None:
                async with anyio.create_task_group() as claimers:
                    for claimer in self._claimers:
                        claimers.start_soon(claimer.run)
                claiming.cancel_scope.cancel()

            async def stop_when_used_up() -> None:
                await self._slots.wait_until_used_up()
                self._presence.drain()
                await self._engine.wait_until_idle()
                claiming.cancel_scope.cancel()

            claiming.start_soon(stop_when_asked)
            claiming.start_soon(stop_when_used_up)
            claiming.start_soon(claim_all)

    async def _abandon_claims_when_killing(self) -> None:
        await self._stopping.wait_for(Stage.KILLING)
        for claimer in self._claimers:
            claimer.abandon()
