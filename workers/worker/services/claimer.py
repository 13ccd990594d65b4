"""Claims waiting jobs of one queue for the free slots of this worker."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import anyio

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.store import claims
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, RetryLater
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import LeaseLost
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.workers.engine.crash_points import crash_at
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

BELL_S: Final = 15.0
"""How long an idle worker blocks on the bell, which rings for a new job, before it claims again anyway."""

FIRST_RETRY_S: Final = 0.1


class Slots(Protocol):
    """How many more jobs there is room for."""

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""

    async def wait_for_slot(self) -> None:
        """Wait until there is room for one job."""


class Admission(Protocol):
    """Starts jobs."""

    async def admit(self, lease: Lease, lease_id: str, claim: Claim) -> None:
        """Start a job that was claimed under this lease id."""


class LeaseKeeper(Protocol):
    """Replaces lost leases."""

    async def replace(self, lease: Lease, lost_id: str) -> None:
        """Replace a lost lease by the next one."""


class Servers(Protocol):
    """Knows which server each queue is on."""

    def run_id_of(self, keys: QueueKeys) -> str:
        """Return the run id of the server that a queue is on; empty if unknown."""


class Claimer:
    """Claims no more jobs than there are free slots, and never the same job twice.

    A claim whose reply is lost or is an error may have claimed some jobs. It is not repeated: the claimer reads back
    which jobs are claimed under its lease, and starts those that it never received. When cancelled, the claimer still
    finishes the claim in progress, because a job that is claimed and then dropped would not run anywhere.

    Args:
        bell: A connection for blocking reads, used for nothing else.
        turn: Held while counting slots and claiming jobs, so that the claimers of this worker take turns.
        only_job: Claim exactly this job, and no other.
        is_burst: Return once no job waits and all results are recorded.
    """

    def __init__(
        self,
        session: Session,
        lease: Lease,
        held_jobs: HeldJobs,
        *,
        bell: AsyncConnection,
        slots: Slots,
        turn: anyio.Lock,
        window: BatchWindow,
        admission: Admission,
        lease_keeper: LeaseKeeper,
        servers: Servers,
        only_job: str | None = None,
        is_burst: bool = False,
    ) -> None:
        self._connection = session.connection
        self._identity = session.identity
        self._settings = session.settings
        self._lease = lease
        self._held_jobs = held_jobs
        self._bell = bell
        self._slots = slots
        self._turn = turn
        self._window = window
        self._admission = admission
        self._lease_keeper = lease_keeper
        self._servers = servers
        self._only_job = only_job
        self._is_burst = is_burst or only_job is not None
        self._is_unsure = False
        self._wait_s = 0.0
        self._running: anyio.CancelScope | None = None
        self._claiming: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Claim whenever there is room. Returns only in burst mode; otherwise it runs until it is cancelled."""
        with anyio.CancelScope() as self._running:
            await repeat(self._claim_and_wait, self._wait_for_room, "claim", retry_s=FIRST_RETRY_S)

    async def _wait_for_room(self) -> None:
        await self._slots.wait_for_slot()
        await self._window.wait()

    async def _claim_and_wait(self) -> None:
        asked, claimed = await self.run_once()
        if self._wait_s:
            await anyio.sleep(min(self._wait_s, BELL_S))
        elif self._is_burst:
            if claimed == 0:
                if self._held_jobs.are_recorded and self._running is not None:
                    self._running.cancel()
                await self._held_jobs.wait_for_change()
        elif claimed < asked and self._slots.free_slots:
            # No job waits, or the bell has woken another worker, idle for longer, for the remaining ones.
            await self._wait_for_bell()

    async def _wait_for_bell(self) -> None:
        has_rung = await self._bell.run(claims.wait_for_bell(self._lease.keys, BELL_S))
        if has_rung and not self._slots.free_slots:
            # A job of another queue took the last slot meanwhile: pass the ring on to another worker.
            await self._connection.run(claims.ring(self._lease.keys))

    async def run_once(self) -> tuple[int, int]:
        """Claim jobs for all free slots.

        Returns:
            The number of slots it claimed for, and the number of jobs started plus entries set aside.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        async with self._turn:
            free = min(self._slots.free_slots, claims.MAX_CLAIM)
            if free == 0:
                return 0, 0
            started = 0  # The type checker must assume that a scope can swallow an exception.
            with anyio.CancelScope(shield=True) as self._claiming:
                started += await self._claim(free)
            return free, started

    def abandon(self) -> None:
        """Stop waiting for the reply to the claim in progress: this worker is about to kill all its jobs."""
        if self._claiming is not None:
            self._claiming.cancel()

    async def aclose(self) -> None:
        """Close its connection to the bell."""
        await self._bell.aclose()

    async def _claim(self, free: int) -> int:
        started = 0
        lease_id = self._lease.id
        if self._is_unsure:
            started = await self._start(await self._connection.run(self._reclaim()), lease_id)
            self._is_unsure = False
            if started >= free:
                return started
        try:
            answer = await self._connection.run(self._call(free - started))
        except OneshotQueueError:
            # A script that failed half-way has claimed some jobs.
            self._is_unsure = True
            raise
        crash_at("after_claim")
        return started + await self._start(answer, lease_id)

    def _call(self, free: int) -> Call[Claimed | RetryLater | LeaseLost]:
        who = {"lease": self._lease.id, "worker": self._identity.name, "host": self._identity.host}
        run_id = self._servers.run_id_of(self._lease.keys)
        if self._only_job is not None:
            return claims.claim_one(self._lease.keys, self._only_job, settings=self._settings, run_id=run_id, **who)
        return claims.claim(self._lease.keys, free=free, settings=self._settings, run_id=run_id, **who)

    def _reclaim(self) -> Call[Claimed | RetryLater | LeaseLost]:
        known = [held.holder.token for held in self._held_jobs if held.keys == self._lease.keys]
        return claims.reclaim(self._lease.keys, lease=self._lease.id, known=known)

    async def _start(self, answer: Claimed | RetryLater | LeaseLost, lease_id: str) -> int:
        self._wait_s = answer.wait_s if isinstance(answer, RetryLater) else 0.0
        if isinstance(answer, RetryLater):
            return 0
        if isinstance(answer, LeaseLost):
            await self._lease_keeper.replace(self._lease, lease_id)
            return 0
        queue = self._lease.keys.queue
        if answer.set_aside:
            logger.error("set aside %d entries that name no job", answer.set_aside, extra={"queue": queue})
        new = [each for each in answer.claims if not self._held_jobs.has_received(queue, each.job_id, each.token)]
        for claim in new:
            await self._admission.admit(self._lease, lease_id, claim)
        # Count entries that were set aside: jobs may wait behind them, so claim again at once.
        return len(new) + answer.set_aside
