"""Receives interrupts as soon as they are announced."""

from __future__ import annotations

import logging
import re
from typing import Final, Protocol

from oneshot_queue.store.leases import count_malformed
from oneshot_queue.store.transport.pubsub import Subscription
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

_MESSAGE: Final = re.compile(rb"([A-Za-z0-9._-]{1,64}) ([0-9]{1,9})")


class Orders(Protocol):
    """Carries out recorded interrupts."""

    async def fetch(self, lease: Lease) -> int:
        """Read and carry out the recorded interrupts of one lease; returns how many were new."""


class InterruptListener:
    """Listens on the control channels. A message only says which queue to check: the interrupt is read from its keys.

    A message may arrive before the reply to the claim of its job. It is then remembered, and the interrupt is read
    before the job's process is started.

    Attributes:
        heard: How many announced interrupts it received.
    """

    def __init__(self, session: Session, held_jobs: HeldJobs, orders: Orders, early: EarlyInterrupts) -> None:
        self._connection = session.connection
        self._announcements = session.announcements
        self._leases = {lease.keys.control: lease for lease in session.leases}
        self._held_jobs = held_jobs
        self._orders = orders
        self._early = early
        self._subscription = Subscription()
        self.heard = 0

    async def run(self) -> None:
        """Listen until cancelled; after each subscription, all queues are checked."""
        await self._announcements.subscribe(self._subscription, self._leases)
        # An interrupt that a failed pass did not read is not lost: the next renewal or subscription reads it.
        await repeat(self.run_once, self._subscription.wait, "read interrupts")

    async def run_once(self) -> int:
        """Act on the messages received since the last pass; returns how many jobs were interrupted.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        messages, missed = self._subscription.take()
        look = list(self._leases.values()) if missed else []
        malformed: dict[str, int] = {}
        for channel, message in messages:
            lease = self._leases.get(channel)
            match = _MESSAGE.fullmatch(message)
            if lease is None or match is None:
                malformed[channel] = malformed.get(channel, 0) + 1
                continue
            self.heard += 1
            queue, job_id, attempt = lease.keys.queue, match[1].decode(), int(match[2])
            held = self._held_jobs.find(queue, job_id)
            if held is None:
                self._early.remember(queue, job_id, attempt)
            elif held.attempt == attempt and lease not in look:
                look.append(lease)
        interrupted = 0
        for lease in look:
            interrupted += await self._orders.fetch(lease)
        await self._count(malformed)
        return interrupted

    async def _count(self, malformed: dict[str, int]) -> None:
        for channel, count in malformed.items():
            logger.error("%d messages on %s are not interrupts", count, channel)
            lease = self._leases.get(channel)
            if lease is not None:
                await self._connection.run(count_malformed(lease.keys, count))
