"""Moves delayed jobs to their stream when they are due, and fails those that were not started in time."""

from __future__ import annotations

import random
from typing import Final, Protocol

import anyio

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.store import due
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session

PERIOD_S: Final = 1.0


class Sweeper(Protocol):
    """Knows which queues this worker maintains."""

    def is_in_charge(self, keys: QueueKeys) -> bool:
        """Whether no other worker is known to maintain this queue."""


class Promoter:
    """Promotes about once a second and when the next job is due, in the queues that this worker is in charge of.

    A claim promotes first, too, so a busy queue does not depend on this service. If a worker exits or dies, another one
    is in charge within seconds. If two workers both consider themselves in charge, no job is promoted twice.
    """

    def __init__(self, session: Session, sweeper: Sweeper) -> None:
        self._connection = session.connection
        self._queues = [lease.keys for lease in session.leases]
        self._settings = session.settings
        self._sweeper = sweeper
        self._next_s = PERIOD_S

    async def run(self) -> None:
        """Promote until cancelled."""
        await repeat(self.run_once, self._wait_until_due, "promote delayed jobs")

    async def _wait_until_due(self) -> None:
        # Spread, so that many workers do not ask at the same instant.
        await anyio.sleep(min(self._next_s, PERIOD_S * random.uniform(0.75, 1.25)))

    async def run_once(self) -> int:
        """Promote what is due, at most 200 jobs in each queue; returns how many.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        count, self._next_s = 0, PERIOD_S
        calls = [due.promote(keys, self._settings) for keys in self._queues if self._sweeper.is_in_charge(keys)]
        try:
            for answer in await self._connection.run_many(calls) if calls else ():
                if isinstance(answer, Exception):
                    raise answer
                count += answer.count
                if answer.next_s is not None:
                    self._next_s = min(self._next_s, answer.next_s)
        except OneshotQueueError:
            self._next_s = PERIOD_S
            raise
        return count
