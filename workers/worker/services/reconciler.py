"""Finds what Redis believes this worker holds, and this worker never received."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import anyio

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.settings import Settings
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.claims import Claim, Claimed, give_back, reclaim
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.workers.worker.outages import level_of
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

PERIOD_S: Final = 10.0

Admit = Callable[[Lease, str, Claim], Awaitable[None]]


class Slots(Protocol):
    """How many more jobs there is room for."""

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""


class Reconciler:
    """Every ten seconds: a job whose token never came is started if there is room, else returned.

    It never goes by what this worker runs now, only by which tokens it ever received: a job that ended here a moment
    ago must not begin again.

    Args:
        turn: Held by whoever of this worker counts slots and claims: so no claim is under way meanwhile.
        admit: Starts a job that was claimed under this lease id.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        leases: Sequence[Lease],
        held_jobs: HeldJobs,
        slots: Slots,
        turn: anyio.Lock,
        worker: str,
        settings: Settings,
        admit: Admit,
    ) -> None:
        self._connection = connection
        self._leases = leases
        self._held_jobs = held_jobs
        self._slots = slots
        self._turn = turn
        self._worker = worker
        self._settings = settings
        self._admit = admit

    async def run(self) -> None:
        """Reconcile for ever."""
        failures = 0
        while True:
            await anyio.sleep(PERIOD_S)
            try:
                await self.run_once()
                failures = 0
            except OneshotQueueError as problem:
                failures += 1
                logger.log(level_of(problem, failures), "cannot reconcile: %s", problem)

    async def run_once(self) -> int:
        """Reconcile all queues once; returns how many jobs had never been received.

        Raises:
            BrokerError: The broker is out of reach or refuses, for one queue at least; the others were looked at.
        """
        count = 0
        refusal: OneshotQueueError | None = None
        for lease in self._leases:
            try:
                async with self._turn:
                    count += await self._reconcile(lease)
            except OneshotQueueError as problem:
                refusal = refusal or problem
        if refusal is not None:
            raise refusal
        return count

    async def _reconcile(self, lease: Lease) -> int:
        lease_id, queue = lease.id, lease.keys.queue
        known = [held.holder.token for held in self._held_jobs if held.keys == lease.keys]
        answer = await self._connection.run(reclaim(lease.keys, lease=lease_id, known=known))
        claims = answer.claims if isinstance(answer, Claimed) else ()
        new = [each for each in claims if not self._held_jobs.has_received(queue, each.job_id, each.token)]
        for claim in new:
            if self._slots.free_slots:
                await self._admit(lease, lease_id, claim)
            else:
                await self._return(lease, lease_id, claim)
        if new:
            logger.warning("queue %s: %d claimed jobs had never been received", queue, len(new))
        return len(new)

    async def _return(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        holder = Holder(claim.token, lease_id, self._worker)
        call = give_back(lease.keys, claim.job_id, holder, why="unstarted", is_counted=False, settings=self._settings)
        await self._connection.run(call)
