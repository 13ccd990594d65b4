"""Carries out recorded interrupts: finds the held job that each one names, and interrupts it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Protocol

from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import Intent, read_intents
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

MAX_UNMATCHED: Final = 10_000


class Control(Protocol):
    """Ends jobs."""

    def interrupt(self, held: HeldJob, grace_s: float | None, reason: str) -> bool:
        """Interrupt a job; returns whether it ends INTERRUPTED."""


class Orders:
    """Carries out the interrupts that a renewal returns or that are read after an announcement.

    An interrupt for a job that is not held is remembered as early, because the reply to the claim may not have arrived
    yet. If it still matches no held job after the length of a lease, it is stale, and the next renewal removes it.
    """

    def __init__(self, session: Session, held_jobs: HeldJobs, control: Control, early: EarlyInterrupts) -> None:
        self._connection = session.connection
        self._held_jobs = held_jobs
        self._control = control
        self._early = early
        self._clock = session.clock
        self._patience_s = session.settings.lease_s
        self._unmatched: OrderedDict[tuple[QueueKeys, str, Intent], float] = OrderedDict()

    def stale(self, lease: Lease) -> list[Intent]:
        """Return, and forget, the interrupts that have matched no held job for the length of a lease."""
        now = self._clock.monotonic()
        found = [
            intent
            for (keys, lease_id, intent), since_s in self._unmatched.items()
            if keys == lease.keys and lease_id == lease.id and now - since_s >= self._patience_s
        ]
        for intent in found:
            del self._unmatched[lease.keys, lease.id, intent]
        return found

    async def fetch(self, lease: Lease) -> int:
        """Read the recorded interrupts of one lease and carry them out; returns how many were new.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        intents, _ = await self._connection.run(read_intents(lease.keys, lease.id))
        return self.carry_out(lease, intents)

    def carry_out(self, lease: Lease, intents: Iterable[Intent]) -> int:
        """Interrupt the held jobs that these intents name; returns how many were not being interrupted before."""
        count = 0
        for intent in intents:
            held = self._held_jobs.find(lease.keys.queue, intent.job_id)
            if held is None or held.attempt != intent.attempt:
                self._remember_unmatched(lease, intent)
            if held is None:
                self._early.remember(lease.keys.queue, intent.job_id, intent.attempt)
                continue
            # Bound to the attempt: an old interrupt must not end a new attempt of the same job.
            if held.attempt != intent.attempt or held.holder.lease != lease.id:
                continue
            self._unmatched.pop((lease.keys, lease.id, intent), None)
            held.intent = intent
            count += self._control.interrupt(held, intent.grace_s, "asked for")
        return count

    def _remember_unmatched(self, lease: Lease, intent: Intent) -> None:
        self._unmatched.setdefault((lease.keys, lease.id, intent), self._clock.monotonic())
        while len(self._unmatched) > MAX_UNMATCHED:
            self._unmatched.popitem(last=False)
