"""Removes finished jobs that are beyond their retention."""

from __future__ import annotations

from typing import Final

from oneshot_queue.store import retention
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session

PERIOD_S: Final = 60.0


class Pruner:
    """Once a minute, removes the finished jobs beyond their retention, with all their keys and index entries."""

    def __init__(self, session: Session) -> None:
        self._connection = session.connection
        self._queues = [lease.keys for lease in session.leases]
        self._settings = session.settings

    async def run(self) -> None:
        """Prune until cancelled."""
        await repeat(self.run_once, PERIOD_S, "prune finished jobs")

    async def run_once(self) -> int:
        """Prune every queue until nothing is left to remove; returns how many jobs were removed.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        total = 0
        for keys in self._queues:
            # Each call is bounded, so that Redis answers others in between.
            while removed := await self._connection.run(retention.prune(keys, self._settings)):
                total += removed
        return total
