"""Finds jobs that this worker holds according to Redis but has never received."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import anyio

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.claims import Claim, Claimed, give_back, reclaim
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

PERIOD_S: Final = 10.0


class Slots(Protocol):
    """How many more jobs there is room for."""

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""


class Admission(Protocol):
    """Starts jobs."""

    async def admit(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        """Start a job that was claimed under this lease id."""


class Reconciler:
    """Every ten seconds, starts the claimed jobs whose token never arrived, or returns them if no slot is free.

    It compares with the tokens that this worker has ever received, not with the jobs that it runs now: a job that has
    just ended here must not start again.

    Args:
        turn: Held while counting slots and claiming jobs, so that no claim is in progress meanwhile.
    """

    def __init__(
        self, session: Session, held_jobs: HeldJobs, *, slots: Slots, turn: anyio.Lock, admission: Admission
    ) -> None:
        self._connection = session.connection
        self._leases = session.leases
        self._settings = session.settings
        self._worker = session.identity.name
        self._held_jobs = held_jobs
        self._slots = slots
        self._turn = turn
        self._admission = admission

    async def run(self) -> None:
        """Reconcile until cancelled."""
        await repeat(self.run_once, PERIOD_S, "reconcile")

    async def run_once(self) -> int:
        """Reconcile all queues once; returns how many jobs were found.

        Raises:
            BrokerError: The broker cannot be reached or refuses, for at least one queue; the others were reconciled.
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
                await self._admission.admit(lease, lease_id, claim)
            else:
                await self._return(lease, lease_id, claim)
        if new:
            logger.warning("found %d claimed jobs that were never received", len(new), extra={"queue": queue})
        return len(new)

    async def _return(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        holder = Holder(claim.token, lease_id, self._worker)
        call = give_back(lease.keys, claim.job_id, holder, why="unstarted", is_counted=False, settings=self._settings)
        await self._connection.run(call)
