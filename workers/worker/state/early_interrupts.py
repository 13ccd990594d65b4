"""Interrupts that arrive before their job does."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from oneshot_queue.clock import Clock

MAX_EARLY: Final = 10_000


class EarlyInterrupts:
    """Remembers which jobs were interrupted before the reply to their claim arrived.

    Both an announcement and a renewal may deliver such an interrupt. Admission checks for one before it starts a job.

    Args:
        remember_s: Seconds to remember each; a reply takes no longer than the length of a lease.
    """

    def __init__(self, clock: Clock, *, remember_s: float) -> None:
        self._clock = clock
        self._remember_s = remember_s
        self._since: OrderedDict[tuple[str, str, int], float] = OrderedDict()

    def remember(self, queue: str, job_id: str, attempt: int) -> None:
        """Remember that this attempt was interrupted although its job is not held."""
        now = self._clock.monotonic()
        self._since[queue, job_id, attempt] = now
        while self._since and (
            len(self._since) > MAX_EARLY or next(iter(self._since.values())) < now - self._remember_s
        ):
            self._since.popitem(last=False)

    def take(self, queue: str, job_id: str, attempt: int) -> bool:
        """Return whether this attempt was interrupted, and forget it."""
        return self._since.pop((queue, job_id, attempt), None) is not None
