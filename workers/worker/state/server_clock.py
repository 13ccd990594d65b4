"""The time on Redis' clock."""

from __future__ import annotations

from oneshot_queue.clock import Clock


class ServerClock:
    """Redis' clock as this worker knows it: set by every renewal, carried on by the machine's own monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = clock.now_ms() - round(clock.monotonic() * 1000)

    def set(self, server_ms: int) -> None:
        """Redis just reported this time, in ms since 1970."""
        self._ahead_ms = server_ms - round(self._clock.monotonic() * 1000)

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return round(self._clock.monotonic() * 1000) + self._ahead_ms
