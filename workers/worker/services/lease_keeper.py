"""Keeps a worker's leases alive, and learns with every renewal of the interrupts on record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import anyio

from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerError, OneshotQueueError
from oneshot_queue.store.leases import LeaseLost, Renewed, register, renew, unregister
from oneshot_queue.store.queues import add_queue
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.workers.engine.crash_points import crash_at
from oneshot_queue.workers.worker.orders import Interrupt, Orders
from oneshot_queue.workers.worker.outages import level_of
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.server_clock import ServerClock

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 6
PIECE_S: Final = 1.0


class LeaseKeeper:
    """Registers, renews and ends the leases of all queues of one worker.

    Args:
        orders: Carries out the interrupts that a renewal brings.
        interrupt: Ends the jobs of a lease that was lost.
        on_renewed: Told of a lease when it has begun, or its renewal was acknowledged.
        on_ended: Told of a lease that ended in order: nothing is left to decide about it.
        on_refused: Told once the broker has refused for a whole lease what only a person can permit.
        lease_s: Length of a lease; it is renewed six times as often.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        leases: Sequence[Lease],
        held_jobs: HeldJobs,
        orders: Orders,
        interrupt: Interrupt,
        clock: Clock,
        server_clock: ServerClock,
        lease_s: float,
        on_renewed: Callable[[Lease], None] = lambda _: None,
        on_ended: Callable[[Lease], None] = lambda _: None,
        on_refused: Callable[[BrokerError], None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._leases = leases
        self._held_jobs = held_jobs
        self._orders = orders
        self._interrupt = interrupt
        self._clock = clock
        self._server_clock = server_clock
        self._lease_s = lease_s
        self._on_renewed = on_renewed
        self._on_ended = on_ended
        self._on_refused = on_refused
        self._refused_s: float | None = None
        self._replacing = anyio.Lock()

    async def register(self) -> None:
        """Begin all leases.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        for lease in self._leases:
            await self._begin(lease)
            self._on_renewed(lease)

    async def run(self) -> None:
        """Renew for ever; after a failure twice as often, and at once when the machine has slept."""
        period_s = self._lease_s / RENEWALS_PER_LEASE
        failures = 0
        due_s = self._clock.boottime() + period_s
        while True:
            # In short pieces: the clock that timers go by stands still while the machine sleeps, the lease does not.
            await anyio.sleep(min(max(due_s - self._clock.boottime(), 0), PIECE_S))
            if self._clock.boottime() < due_s:
                continue
            due_s = self._clock.boottime() + period_s / 2
            try:
                await self.run_once()
                failures = 0
                self._refused_s = None
                due_s = self._clock.boottime() + period_s
            except OneshotQueueError as problem:
                self._note_refusal(problem)
                failures += 1
                logger.log(level_of(problem, failures), "cannot renew the lease: %s", problem)

    async def run_once(self) -> int:
        """Renew all leases once; returns how many interrupts that brought.

        Raises:
            BrokerError: The broker is out of reach or refuses, for one lease at least; the others were renewed.
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
                self._on_renewed(lease)
            try:
                brought += await self._take_in(lease, lease_id, answer)
            except BrokerError as problem:
                refusal = refusal or problem
        if refusal is not None:
            raise refusal
        return brought

    def _note_refusal(self, problem: OneshotQueueError) -> None:
        """A password that was changed for a moment must not end anything; one that stays changed must be said."""
        if not (isinstance(problem, BrokerError) and problem.needs_person):
            self._refused_s = None
            return
        now_s = self._clock.boottime()
        self._refused_s = now_s if self._refused_s is None else self._refused_s
        if now_s - self._refused_s >= self._lease_s:
            self._on_refused(problem)

    async def replace(self, lease: Lease, lost_id: str) -> None:
        """A lease is lost: end its jobs, write nothing for them, and begin the next lease.

        Args:
            lost_id: What it was called when it was lost; it may have been replaced since.

        Raises:
            BrokerError: The broker is out of reach or refuses; the next renewal finds the lease lost again.
        """
        async with self._replacing:
            if lease.id == lost_id:
                await self._replace(lease)

    async def _replace(self, lease: Lease) -> None:
        logger.error("lease %s of queue %s is lost; ending its jobs", lease.id, lease.keys.queue)
        for held in self._held_jobs:
            if held.keys == lease.keys and held.holder.lease == lease.id:
                held.is_fenced = True
                self._interrupt(held.task_id, None, "lease lost")
                if held.ended is not None:
                    self._held_jobs.remove(held)
        # Registered before it is used: a claim in between must not find the next lease lost, too.
        following = replace(lease, number=lease.number + 1)
        await self._begin(following)
        lease.number, lease.renewed_s = following.number, following.renewed_s
        self._on_renewed(lease)

    async def end(self) -> None:
        """End all leases that hold no job any more.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        calls = [unregister(lease.keys, lease.id) for lease in self._leases]
        for lease, answer in zip(self._leases, await self._connection.run_many(calls), strict=True):
            if answer is True:
                self._on_ended(lease)

    async def _begin(self, lease: Lease) -> None:
        # The queue is made known, so that its workers are found before its first job; where memory is full, without.
        known = add_queue(lease.keys.namespace, lease.keys.queue)
        began = register(lease.keys, lease.id, self._lease_s)
        sent_s = self._clock.boottime()
        _, answer = await self._connection.run_many([known, began])
        if isinstance(answer, Exception):
            raise answer
        self._server_clock.set(answer)
        lease.renewed_s = sent_s

    async def _take_in(self, lease: Lease, lease_id: str, answer: Any) -> int:
        match answer:
            case Renewed(now_ms, intents, malformed):
                self._server_clock.set(now_ms)
                if malformed:
                    logger.error("%d interrupts of queue %s cannot be read", malformed, lease.keys.queue)
                return self._orders.carry_out(lease, intents)
            case LeaseLost():
                await self.replace(lease, lease_id)
                return 0
            case _:
                raise answer
