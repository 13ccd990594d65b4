"""A worker's leases, one for each of its queues, and what follows from an interrupt on record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.lease_store import Intent
from workers.holdings import Holdings

logger = logging.getLogger(__name__)

Interrupt = Callable[[str, float | None, str], bool]
"""Ends a task: its id, the grace in seconds or ``None`` for the job's own, and a reason for people."""

Remember = Callable[[str, str, int], None]
"""Keeps in mind that an interrupt is on record for a job that is not held yet: its queue, its id and the attempt."""


@dataclass(slots=True)
class Lease:
    """The right to hold jobs of one queue. A lost lease never returns: the next one has the next number."""

    keys: QueueKeys
    worker_id: str
    number: int = 1

    @property
    def id(self) -> str:
        """What Redis knows it by."""
        return f"{self.worker_id}.{self.number}"


class Orders:
    """Carries out intents: the one place where an interrupt on record becomes an interrupt of a task.

    Attributes:
        remember: Told of intents for jobs that are not held: the reply that hands them over may still be on its way.
    """

    def __init__(self, holdings: Holdings, interrupt: Interrupt) -> None:
        self._holdings = holdings
        self._interrupt = interrupt
        self.remember: Remember | None = None

    def carry_out(self, lease: Lease, intents: Iterable[Intent]) -> int:
        """Interrupt the held jobs these intents speak of; returns how many were not being interrupted before."""
        count = 0
        for intent in intents:
            held = self._holdings.find(lease.keys.queue, intent.job_id)
            if held is None:
                if self.remember is not None:
                    self.remember(lease.keys.queue, intent.job_id, intent.attempt)
                continue
            # Bound to the attempt: an old interrupt must not end a new attempt of the same job.
            if held.attempt != intent.attempt or held.holder.lease != lease.id:
                continue
            held.intent = intent
            count += self._interrupt(held.task_id, intent.grace_s, "asked for")
        return count
