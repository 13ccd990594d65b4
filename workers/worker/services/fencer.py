"""Ends exclusive jobs before their lease could be given away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from oneshot_queue.clock import Clock
from oneshot_queue.workers.ipc.lease_margin import margin_s
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

TICK_S: Final = 1.0

GiveUp = Callable[[HeldJob, float], None]
"""Ends a job as lost; the grace in seconds."""


class Fencer:
    """Watches the clock, the one that goes on while the machine sleeps, and asks nobody.

    Without an acknowledged renewal for all of a lease but its margin, the jobs that must never overlap with another
    attempt end, within what is left. All others run on, however long Redis is away.
    """

    def __init__(
        self, *, leases: Sequence[Lease], held_jobs: HeldJobs, clock: Clock, lease_s: float, give_up: GiveUp
    ) -> None:
        self._leases = leases
        self._held_jobs = held_jobs
        self._clock = clock
        self._limit_s = lease_s - margin_s(lease_s)
        self._grace_s = margin_s(lease_s) / 2
        self._give_up = give_up

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            self.run_once()
            now = self._clock.boottime()
            left_s = min(lease.renewed_s + self._limit_s - now for lease in self._leases)
            await anyio.sleep(min(max(left_s, TICK_S / 10), TICK_S))

    def run_once(self) -> int:
        """End what must not go on; returns how many jobs."""
        now = self._clock.boottime()
        overdue = {(lease.keys, lease.id) for lease in self._leases if now - lease.renewed_s >= self._limit_s}
        count = 0
        for held in self._held_jobs if overdue else ():
            is_overdue = (held.keys, held.holder.lease) in overdue
            if is_overdue and held.is_exclusive and held.ended is None and not held.is_given_up:
                logger.error("job %s: its lease was not renewed for %g s; ending it", held.job_id, self._limit_s)
                held.is_given_up = True
                self._give_up(held, self._grace_s)
                count += 1
        return count
