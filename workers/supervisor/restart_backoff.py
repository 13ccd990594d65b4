"""How long to wait before replacing a dead worker process: longer each time while its replacements die young."""

from __future__ import annotations

from typing import Final

from oneshot_queue.backoff import retry_delay

YOUNG_S: Final = 60.0
FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 30.0


class RestartBackoff:
    """Counts deaths, and starts again at 1 after a process that lived for at least ``YOUNG_S`` seconds."""

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
