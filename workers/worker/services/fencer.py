"""Ends exclusive jobs before their lease expires."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import anyio

from oneshot_queue.workers.ipc.lease_margin import margin_s
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs, Running, Waiting, log_fields

logger = logging.getLogger(__name__)

TICK_S: Final = 1.0


class Control(Protocol):
    """Ends jobs."""

    def give_up(self, held: HeldJob, grace_s: float | None, reason: str) -> None:
        """End a job FAILED as ``worker_lost``."""


class Fencer:
    """Checks the age of each lease by the clock that includes time asleep. It needs no broker.

    When a lease was not renewed for its length minus a margin, its exclusive jobs, which must not overlap with another
    attempt, are ended within that margin. Other jobs continue, however long Redis is unreachable.
    """

    def __init__(self, session: Session, held_jobs: HeldJobs, control: Control) -> None:
        lease_s = session.settings.lease_s
        self._leases = session.leases
        self._clock = session.clock
        self._held_jobs = held_jobs
        self._control = control
        self._limit_s = lease_s - margin_s(lease_s)
        self._grace_s = margin_s(lease_s) / 2

    async def run(self) -> None:
        """Watch until cancelled."""
        await repeat(self.run_once, self._wait_until_due, "end exclusive jobs")

    async def _wait_until_due(self) -> None:
        now = self._clock.boottime()
        left_s = min(lease.renewed_s + self._limit_s - now for lease in self._leases)
        # Sleep in short pieces: timers stop while the machine sleeps, leases do not.
        await anyio.sleep(min(max(left_s, TICK_S / 10), TICK_S))

    async def run_once(self) -> int:
        """End the exclusive jobs whose lease was not renewed in time; returns how many."""
        now = self._clock.boottime()
        overdue = {(lease.keys, lease.id) for lease in self._leases if now - lease.renewed_s >= self._limit_s}
        count = 0
        for held in self._held_jobs if overdue else ():
            if (held.keys, held.holder.lease) in overdue and held.is_exclusive and _may_overlap(held):
                reason = f"its lease was not renewed for {self._limit_s:g} s"
                logger.error("%s; ending it", reason, extra=log_fields(held, cause="worker_lost"))
                self._control.give_up(held, self._grace_s, reason)
                count += 1
        return count


def _may_overlap(held: HeldJob) -> bool:
    match held.phase:
        case Waiting():
            return True
        case Running(stop=stop):
            return stop is None
        case _:
            return False
