"""A worker's leases, one for each of its queues, and what follows from an interrupt on record."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from oneshot_queue.clock import Clock
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import Intent
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

MAX_UNMATCHED: Final = 10_000

Interrupt = Callable[[str, float | None, str], bool]
"""Ends a task: its id, the grace in seconds or ``None`` for the job's own, and a reason for people."""

Remember = Callable[[str, str, int], None]
"""Keeps in mind that an interrupt is on record for a job that is not held yet: its queue, its id and the attempt."""


class Orders:
    """Carries out intents: the one place where an interrupt on record becomes an interrupt of a task.

    Args:
        patience_s: Seconds for which an intent may fit no job yet: the length of a lease.

    Attributes:
        remember: Told of intents for jobs that are not held: the reply that hands them over may still be on its way.
    """

    def __init__(self, held_jobs: HeldJobs, interrupt: Interrupt, clock: Clock, *, patience_s: float) -> None:
        self._held_jobs = held_jobs
        self._interrupt = interrupt
        self._clock = clock
        self._patience_s = patience_s
        self._unmatched: OrderedDict[tuple[QueueKeys, str, Intent], float] = OrderedDict()
        self.remember: Remember | None = None

    def stale(self, lease: Lease) -> list[Intent]:
        """Intents that came again and again for longer than a claim's reply can take, and fit no job held."""
        now = self._clock.monotonic()
        found = [
            intent
            for (keys, lease_id, intent), since_s in self._unmatched.items()
            if keys == lease.keys and lease_id == lease.id and now - since_s >= self._patience_s
        ]
        for intent in found:
            del self._unmatched[lease.keys, lease.id, intent]
        return found

    def carry_out(self, lease: Lease, intents: Iterable[Intent]) -> int:
        """Interrupt the held jobs these intents speak of; returns how many were not being interrupted before."""
        count = 0
        for intent in intents:
            held = self._held_jobs.find(lease.keys.queue, intent.job_id)
            if held is None or held.attempt != intent.attempt:
                self._note_unmatched(lease, intent)
            if held is None:
                if self.remember is not None:
                    self.remember(lease.keys.queue, intent.job_id, intent.attempt)
                continue
            # Bound to the attempt: an old interrupt must not end a new attempt of the same job.
            if held.attempt != intent.attempt or held.holder.lease != lease.id:
                continue
            self._unmatched.pop((lease.keys, lease.id, intent), None)
            held.intent = intent
            count += self._interrupt(held.task_id, intent.grace_s, "asked for")
        return count

    def _note_unmatched(self, lease: Lease, intent: Intent) -> None:
        self._unmatched.setdefault((lease.keys, lease.id, intent), self._clock.monotonic())
        while len(self._unmatched) > MAX_UNMATCHED:
            self._unmatched.popitem(last=False)
