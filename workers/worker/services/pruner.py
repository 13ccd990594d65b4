"""Forgets finished jobs that are too old or too many."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import anyio

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.settings import Settings
from oneshot_queue.store import retention
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport.connection import AsyncConnection

logger = logging.getLogger(__name__)

PERIOD_S: Final = 60.0


class Pruner:
    """Once a minute: every finished job beyond its time is removed with all its keys and index entries."""

    def __init__(self, *, connection: AsyncConnection, queues: Sequence[QueueKeys], settings: Settings) -> None:
        self._connection = connection
        self._queues = queues
        self._settings = settings

    async def run(self) -> None:
        """Prune for ever."""
        while True:
            await anyio.sleep(PERIOD_S)
            try:
                await self.run_once()
            except OneshotQueueError as problem:
                logger.warning("cannot prune: %s", problem)

    async def run_once(self) -> int:
        """Prune until nothing is left to prune; returns how many jobs were forgotten.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        total = 0
        for keys in self._queues:
            # Each call is bounded, so that Redis answers others in between.
            while removed := await self._connection.run(retention.prune(keys, self._settings)):
                total += removed
        return total
