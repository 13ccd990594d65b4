"""When to replace a worker process that died: at once, then later and later while it keeps dying young. Pure."""

from __future__ import annotations

from typing import Final

from oneshot_queue.backoff import retry_delay

YOUNG_S: Final = 60.0
FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 30.0


class RestartBackoff:
    """Counts how often a worker process and its replacements have died young."""

    def __init__(self) -> None:
        self._died_young = 0

    def delay_s(self, lived_s: float) -> float:
        """Count a death after ``lived_s`` seconds; returns the seconds to wait before the replacement."""
        if lived_s >= YOUNG_S:
            self._died_young = 0
        self._died_young += 1
        if self._died_young == 1:
            return 0.0
        return retry_delay(self._died_young - 1, base_s=FIRST_DELAY_S, cap_s=LONGEST_DELAY_S, spread=1.0)
