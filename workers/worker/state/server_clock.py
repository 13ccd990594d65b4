"""What a worker holds: the jobs it claimed and has not written the end of."""

from __future__ import annotations

from oneshot_queue.clock import Clock


class ServerClock:
    """Redis' clock, as far as it is known here: set by every renewal, carried on by our own monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = clock.now_ms() - round(clock.monotonic() * 1000)

    def set(self, server_ms: int) -> None:
        """Redis just said that it is this late."""
        self._ahead_ms = server_ms - round(self._clock.monotonic() * 1000)

    def now_ms(self) -> int:
        """Milliseconds since 1970, as Redis would say."""
        return round(self._clock.monotonic() * 1000) + self._ahead_ms
