"""Claims waiting jobs of one queue for the free slots of this worker."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import anyio

from oneshot_queue.backoff import retry_delay
from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.settings import Settings
from oneshot_queue.store import claims
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, RetryLater
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import LeaseLost
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.workers.engine.crash_points import crash_at
from oneshot_queue.workers.worker.outages import level_of
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

BELL_S: Final = 15.0
"""How long an idle worker waits at the doorbell before it looks for itself."""

Admit = Callable[[Lease, str, Claim], Awaitable[None]]
OnLost = Callable[[Lease, str], Awaitable[None]]


class Slots(Protocol):
    """How many more jobs there is room for."""

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""

    async def wait_for_slot(self) -> None:
        """Wait until there is room for one."""


class Claimer:
    """Takes no more than there are free slots, and never the same job twice.

    A claim whose reply is lost, or is an error, may have been carried out, all of it or some. It is not repeated;
    instead the claimer reads back what is claimed under its lease, and starts what it never received. Cancelled, it
    still finishes a claim under way: a job that was claimed and dropped would be nobody's.

    Args:
        bell: A connection for blocking reads, used for nothing else.
        turn: Held by whoever of this worker's claimers is counting slots and claiming.
        pace: In which jobs are claimed in a rush.
        admit: Starts a job that was claimed under this lease id.
        on_lost: Told when the lease is gone, and by which id it was asked for.
        run_id_of: Which run of its server a queue is on, '' if that is not known.
        only_job: Claim exactly this job, and no other.
        is_burst: Return when nothing waits and nothing runs.
    """

    def __init__(
        self,
        *,
        commands: AsyncConnection,
        bell: AsyncConnection,
        lease: Lease,
        slots: Slots,
        held_jobs: HeldJobs,
        turn: anyio.Lock,
        window: BatchWindow,
        worker: str,
        host: str,
        settings: Settings,
        admit: Admit,
        on_lost: OnLost,
        run_id_of: Callable[[QueueKeys], str] = lambda _: "",
        only_job: str | None = None,
        is_burst: bool = False,
    ) -> None:
        self._commands = commands
        self._bell = bell
        self._lease = lease
        self._slots = slots
        self._held_jobs = held_jobs
        self._turn = turn
        self._window = window
        self._worker = worker
        self._host = host
        self._settings = settings
        self._admit = admit
        self._on_lost = on_lost
        self._run_id_of = run_id_of
        self._only_job = only_job
        self._is_burst = is_burst or only_job is not None
        self._is_unsure = False
        self._wait_s = 0.0
        self._claiming: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Claim whenever there is room; returns only in burst mode, or by cancellation."""
        failures = 0
        while True:
            try:
                await self._slots.wait_for_slot()
                await self._window.keep()
                asked, claimed = await self.run_once()
                if self._wait_s:
                    await anyio.sleep(min(self._wait_s, BELL_S))
                elif self._is_burst:
                    if claimed == 0:
                        if self._held_jobs.are_written:
                            return
                        await self._held_jobs.wait_for_change()
                elif claimed < asked and self._slots.free_slots:
                    # Nothing waits; or the rest is for others, and the bell was rung for whoever has waited longest.
                    await self._wait_for_bell()
                failures = 0
            except OneshotQueueError as problem:
                failures += 1
                logger.log(level_of(problem, failures), "cannot claim: %s", problem)
                await anyio.sleep(retry_delay(failures, base_s=0.1, cap_s=2.0, spread=random.uniform(0.5, 1.0)))

    async def _wait_for_bell(self) -> None:
        has_rung = await self._bell.run(claims.wait_for_bell(self._lease.keys, BELL_S))
        if has_rung and not self._slots.free_slots:
            # A job of another queue took the last slot meanwhile: what it rang for is for another worker.
            await self._commands.run(claims.ring(self._lease.keys))

    async def run_once(self) -> tuple[int, int]:
        """Claim for all slots that are free; returns for how many, and how many jobs were started or entries set aside.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        async with self._turn:
            free = min(self._slots.free_slots, claims.MAX_CLAIM)
            if free == 0:
                return 0, 0
            started = 0  # the type checker must assume that a scope can swallow
            with anyio.CancelScope(shield=True) as self._claiming:
                started += await self._claim(free)
            return free, started

    def abandon(self) -> None:
        """Do not wait for the reply to a claim under way: this worker is about to kill all that it holds."""
        if self._claiming is not None:
            self._claiming.cancel()

    async def _claim(self, free: int) -> int:
        started = 0
        lease_id = self._lease.id
        if self._is_unsure:
            started = await self._start(await self._commands.run(self._reclaim()), lease_id)
            self._is_unsure = False
            if started >= free:
                return started
        try:
            answer = await self._commands.run(self._call(free - started))
        except OneshotQueueError:
            # A script that was refused half-way has claimed what it came to before.
            self._is_unsure = True
            raise
        crash_at("after_claim")
        return started + await self._start(answer, lease_id)

    def _call(self, free: int) -> Call[Claimed | RetryLater | LeaseLost]:
        who = {"lease": self._lease.id, "worker": self._worker, "host": self._host}
        run_id = self._run_id_of(self._lease.keys)
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
            await self._on_lost(self._lease, lease_id)
            return 0
        if answer.set_aside:
            logger.error("set aside %d entries of queue %s that name no job", answer.set_aside, self._lease.keys.queue)
        queue = self._lease.keys.queue
        new = [each for each in answer.claims if not self._held_jobs.has_received(queue, each.job_id, each.token)]
        for claim in new:
            await self._admit(self._lease, lease_id, claim)
        # What was set aside may have stood in front of jobs: there is a reason to look again at once.
        return len(new) + answer.set_aside
