"""Renews this worker's leases. The reply to a renewal also contains the recorded interrupts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

import anyio

from oneshot_queue.errors import BrokerError, OneshotQueueError
from oneshot_queue.store.leases import Intent, LeaseLost, Renewed, register, renew, unregister
from oneshot_queue.store.queues import add_queue
from oneshot_queue.workers.engine.crash_points import crash_at
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 6
PIECE_S: Final = 1.0


class Orders(Protocol):
    """Carries out recorded interrupts."""

    def stale(self, lease: Lease) -> list[Intent]:
        """Return the interrupts that match no job and are to be removed."""

    def carry_out(self, lease: Lease, intents: Iterable[Intent]) -> int:
        """Interrupt the held jobs that these intents name; returns how many were not being interrupted before."""


class Control(Protocol):
    """Ends jobs."""

    def fence(self, held: HeldJob, why: str) -> None:
        """Kill the processes of a job that this worker no longer holds, and record nothing about it."""


class LeaseLog(Protocol):
    """Records this worker's leases for its supervisor."""

    def lease_renewed(self, lease: Lease) -> None:
        """Record that a lease has begun, or that its renewal was acknowledged."""

    def lease_ended(self, lease: Lease) -> None:
        """Record that a lease has ended and holds no job."""


class Stoppable(Protocol):
    """Stops this worker."""

    def refuse(self, error: BrokerError) -> None:
        """Stop because the broker refuses until a person changes that."""


class LeaseKeeper:
    """Registers, renews and ends the leases of all queues of one worker.

    A lease is renewed six times within its length. The worker stops when the broker has refused, for a full
    lease length, with an error that only a person can resolve.
    """

    def __init__(
        self,
        session: Session,
        held_jobs: HeldJobs,
        *,
        orders: Orders,
        control: Control,
        log: LeaseLog,
        stopping: Stoppable,
    ) -> None:
        self._connection = session.connection
        self._leases = session.leases
        self._clock = session.clock
        self._server_clock = session.server_clock
        self._lease_s = session.settings.lease_s
        self._held_jobs = held_jobs
        self._orders = orders
        self._control = control
        self._log = log
        self._stopping = stopping
        self._due_s = 0.0
        self._refused_s: float | None = None
        self._replacing = anyio.Lock()

    async def register(self) -> None:
        """Begin all leases.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        for lease in self._leases:
            await self._begin(lease)
            self._log.lease_renewed(lease)

    async def run(self) -> None:
        """Renew until cancelled: twice as often after a failure, and at once when the machine wakes up."""
        self._due_s = self._clock.boottime() + self._lease_s / RENEWALS_PER_LEASE
        await repeat(self._renew, self._wait_until_due, "renew the lease")

    async def _wait_until_due(self) -> None:
        # Sleep in short pieces: timers stop while the machine sleeps, leases do not.
        while True:
            await anyio.sleep(min(max(self._due_s - self._clock.boottime(), 0), PIECE_S))
            if self._clock.boottime() >= self._due_s:
                return

    async def _renew(self) -> None:
        period_s = self._lease_s / RENEWALS_PER_LEASE
        self._due_s = self._clock.boottime() + period_s / 2
        try:
            await self.run_once()
        except OneshotQueueError as problem:
            self._check_refusal(problem)
            raise
        self._refused_s = None
        self._due_s = self._clock.boottime() + period_s

    async def run_once(self) -> int:
        """Renew all leases once; returns how many jobs were newly interrupted.

        Raises:
            BrokerError: The broker cannot be reached or refuses, for at least one lease; the others were renewed.
        """
        calls = [renew(lease.keys, lease.id, self._lease_s, self._orders.stale(lease)) for lease in self._leases]
        held_ids = [lease.id for lease in self._leases]
        sent_s = self._clock.boottime()
        brought = 0
        answers = await self._connection.run_many(calls)
        crash_at("in_renew")
        refusal: BrokerError | None = None
        for lease, lease_id, answer in zip(self._leases, held_ids, answers, strict=True):
            if isinstance(answer, Renewed) and lease.id == lease_id:
                lease.renewed_s = sent_s
                self._log.lease_renewed(lease)
            try:
                brought += await self._act_on(lease, lease_id, answer)
            except BrokerError as problem:
                refusal = refusal or problem
        if refusal is not None:
            raise refusal
        return brought

    def _check_refusal(self, problem: OneshotQueueError) -> None:
        """Stop the worker after a full lease length of refusals, not for a password that is wrong for a moment."""
        if not (isinstance(problem, BrokerError) and problem.needs_person):
            self._refused_s = None
            return
        now_s = self._clock.boottime()
        self._refused_s = now_s if self._refused_s is None else self._refused_s
        if now_s - self._refused_s >= self._lease_s:
            self._stopping.refuse(problem)

    async def replace(self, lease: Lease, lost_id: str) -> None:
        """Replace a lost lease: fence its jobs, and begin the next lease.

        Args:
            lost_id: Its id when it was lost. If it has been replaced since, nothing happens.

        Raises:
            BrokerError: The broker cannot be reached or refuses; the next renewal finds the lease lost again.
        """
        async with self._replacing:
            if lease.id == lost_id:
                await self._replace(lease)

    async def _replace(self, lease: Lease) -> None:
        logger.error("lease %s is lost; ending its jobs", lease.id, extra={"queue": lease.keys.queue})
        for held in self._held_jobs:
            if held.keys == lease.keys and held.holder.lease == lease.id:
                self._control.fence(held, "its lease is lost")
        # Register it before use: a claim in between must not find the next lease missing, and so lost too.
        following = replace(lease, number=lease.number + 1)
        await self._begin(following)
        lease.number, lease.renewed_s = following.number, following.renewed_s
        self._log.lease_renewed(lease)

    async def end(self) -> None:
        """End all leases that hold no jobs.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        calls = [unregister(lease.keys, lease.id) for lease in self._leases]
        for lease, answer in zip(self._leases, await self._connection.run_many(calls), strict=True):
            if answer is True:
                self._log.lease_ended(lease)

    async def _begin(self, lease: Lease) -> None:
        # Register the queue too, so that it is listed before its first job. Ignore a failure: memory may be full.
        known = add_queue(lease.keys.namespace, lease.keys.queue)
        began = register(lease.keys, lease.id, self._lease_s)
        sent_s = self._clock.boottime()
        _, answer = await self._connection.run_many([known, began])
        if isinstance(answer, Exception):
            raise answer
        self._server_clock.set(answer)
        lease.renewed_s = sent_s

    async def _act_on(self, lease: Lease, lease_id: str, answer: Any) -> int:
        match answer:
            case Renewed(now_ms, intents, malformed):
                self._server_clock.set(now_ms)
                if malformed:
                    logger.error("%d interrupts cannot be read", malformed, extra={"queue": lease.keys.queue})
                return self._orders.carry_out(lease, intents)
            case LeaseLost():
                await self.replace(lease, lease_id)
                return 0
            case _:
                raise answer
