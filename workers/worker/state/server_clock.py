"""The time by Redis' clock."""

from __future__ import annotations

from oneshot_queue.clock import Clock


class ServerClock:
    """Estimates Redis' clock: every renewal sets it, and the machine's monotonic clock advances it in between."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = clock.now_ms() - round(clock.monotonic() * 1000)

    def set(self, server_ms: int) -> None:
        """Set the time that Redis has just reported, in ms since 1970."""
        self._ahead_ms = server_ms - round(self._clock.monotonic() * 1000)

    def now_ms(self) -> int:
        """Return the time in ms since 1970."""
        return round(self._clock.monotonic() * 1000) + self._ahead_ms
