"""The only module that reads the time: clocks for durations, a clock for timestamps, and their text form.

Code that depends on time takes a ``Clock``, so that tests can move time instead of waiting.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Measures durations and names instants; never mix the two."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. For durations."""

    def boottime(self) -> float:
        """The same, but it includes time in suspend. For leases, whose time other machines measure too."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC; may jump. For timestamps that people read."""


class SystemClock:
    """The machine's own clocks."""

    # The function itself: a worker reads this clock ten times for each job.
    monotonic = staticmethod(time.monotonic)

    def boottime(self) -> float:
        """Seconds of ``CLOCK_BOOTTIME``."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now_ms(self) -> int:
        """Milliseconds of ``CLOCK_REALTIME``."""
        return time.time_ns() // 1_000_000


def rfc3339(at_ms: int) -> str:
    """Format a timestamp as RFC 3339 in UTC with milliseconds: ``2026-01-02T03:04:05.678Z``."""
    instant = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return instant.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
