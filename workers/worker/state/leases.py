"""A worker's leases, one for each of its queues."""

from __future__ import annotations

import math
from dataclasses import dataclass

from oneshot_queue.store.keys import QueueKeys


@dataclass(slots=True)
class Lease:
    """The right to hold jobs of one queue. A lost lease is never valid again: the next one has the next number.

    Attributes:
        renewed_s: When the last acknowledged renewal was sent, by the clock that includes time asleep.
    """

    keys: QueueKeys
    worker_id: str
    number: int = 1
    renewed_s: float = -math.inf

    @property
    def id(self) -> str:
        """Its id in Redis."""
        return f"{self.worker_id}.{self.number}"
