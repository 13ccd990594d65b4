"""Hears of interrupts the moment they are asked for."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from oneshot_queue.clock import Clock
from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.store.leases import count_malformed, read_intents
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.pubsub import Announcements, Subscription
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.outages import level_of
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

MAX_EARLY: Final = 10_000
_MESSAGE: Final = re.compile(rb"([A-Za-z0-9._-]{1,64}) ([0-9]{1,9})")


class InterruptListener:
    """Listens on the control channels; what it hears only says where to look, the order is what stands in the keys.

    An announcement, or a renewal that brings the order itself, may come before the reply of the claim that made its job
    ours. Such a one is remembered for the length of a lease, and the job's intents are read before its process is
    started.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        announcements: Announcements,
        leases: Sequence[Lease],
        held_jobs: HeldJobs,
        orders: Orders,
        clock: Clock,
        remember_s: float,
    ) -> None:
        self._connection = connection
        self._announcements = announcements
        self._leases = {lease.keys.control: lease for lease in leases}
        self._held_jobs = held_jobs
        self._orders = orders
        self._clock = clock
        self._remember_s = remember_s
        self._early: OrderedDict[tuple[str, str, int], float] = OrderedDict()
        self._ear = Subscription()
        self.heard = 0
        self._failures = 0
        orders.remember = self._remember

    async def run(self) -> None:
        """Listen for ever; every (re)subscription looks at everything."""
        await self._announcements.subscribe(self._ear, self._leases)
        while True:
            await self._ear.wait()
            await self.run_once()

    async def run_once(self) -> int:
        """Act on what was heard; returns how many jobs were interrupted for it."""
        said, missed = self._ear.take()
        look = list(self._leases.values()) if missed else []
        malformed: dict[str, int] = {}
        for channel, message in said:
            lease = self._leases.get(channel)
            match = _MESSAGE.fullmatch(message)
            if lease is None or match is None:
                malformed[channel] = malformed.get(channel, 0) + 1
                continue
            self.heard += 1
            queue, job_id, attempt = lease.keys.queue, match[1].decode(), int(match[2])
            held = self._held_jobs.find(queue, job_id)
            if held is None:
                self._remember(queue, job_id, attempt)
            elif held.attempt == attempt and lease not in look:
                look.append(lease)
        try:
            interrupted = 0
            for lease in look:
                interrupted += await self.look(lease)
            await self._count(malformed)
            self._failures = 0
            return interrupted
        except OneshotQueueError as problem:
            # Not lost: the next renewal, or the next subscription, brings the same intents.
            self._failures += 1
            logger.log(level_of(problem, self._failures), "cannot read interrupts: %s", problem)
            return 0

    async def look(self, lease: Lease) -> int:
        """Read one queue's intents and carry them out; returns how many were new.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        intents, _ = await self._connection.run(read_intents(lease.keys, lease.id))
        return self._orders.carry_out(lease, intents)

    def was_announced(self, queue: str, job_id: str, attempt: int) -> bool:
        """Whether an interrupt of this attempt was announced before it was known here; forgets it."""
        return self._early.pop((queue, job_id, attempt), None) is not None

    def _remember(self, queue: str, job_id: str, attempt: int) -> None:
        now = self._clock.monotonic()
        self._early[queue, job_id, attempt] = now
        while self._early and (
            len(self._early) > MAX_EARLY or next(iter(self._early.values())) < now - self._remember_s
        ):
            self._early.popitem(last=False)

    async def _count(self, malformed: dict[str, int]) -> None:
        for channel, count in malformed.items():
            logger.error("%d messages on %s are no interrupts", count, channel)
            lease = self._leases.get(channel)
            if lease is not None:
                await self._connection.run(count_malformed(lease.keys, count))
