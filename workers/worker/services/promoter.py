"""Lets delayed jobs wait in their streams once they are due, and ends those that nobody started in time."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.settings import Settings
from oneshot_queue.store import due
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.workers.worker.outages import level_of

logger = logging.getLogger(__name__)

PERIOD_S: Final = 1.0


class Promoter:
    """Does it about once a second and when the next job is due, for the queues that this worker is in charge of.

    A claim does the same first, so what is due does not wait for this where somebody claims. A worker that leaves or
    dies is no longer in charge, and another is within seconds. Should two believe to be, nothing is done twice.

    Args:
        is_in_charge: Whether no other worker is known to look after this queue.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        queues: Sequence[QueueKeys],
        settings: Settings,
        is_in_charge: Callable[[QueueKeys], bool] = lambda _: True,
    ) -> None:
        self._connection = connection
        self._queues = queues
        self._settings = settings
        self._is_in_charge = is_in_charge
        self._next_s = PERIOD_S

    async def run(self) -> None:
        """Promote for ever."""
        failures = 0
        while True:
            # Spread, so that many workers do not ask at the same instant.
            await anyio.sleep(min(self._next_s, PERIOD_S * random.uniform(0.75, 1.25)))
            try:
                await self.run_once()
                failures = 0
            except OneshotQueueError as problem:
                failures += 1
                self._next_s = PERIOD_S
                logger.log(level_of(problem, failures), "cannot promote: %s", problem)

    async def run_once(self) -> int:
        """Promote what is due in every queue of ours, at most 200 jobs each; returns how many.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        count, self._next_s = 0, PERIOD_S
        calls = [due.promote(keys, self._settings) for keys in self._queues if self._is_in_charge(keys)]
        for answer in await self._connection.run_many(calls) if calls else ():
            if isinstance(answer, Exception):
                raise answer
            count += answer.count
            if answer.next_s is not None:
                self._next_s = min(self._next_s, answer.next_s)
        return count
