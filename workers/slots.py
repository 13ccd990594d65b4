"""How many jobs there is room for: the orchestrator's free slots, or none while the host is out of something."""

from __future__ import annotations

from typing import Final

import anyio

from oneshot_queue.clock import Clock
from workers.orchestrator import AsyncOrchestrator

PAUSE_S: Final = 5.0


class Slots:
    """The claimer's view of the orchestrator."""

    def __init__(self, orchestrator: AsyncOrchestrator, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._clock = clock
        self._paused_until = 0.0

    def pause(self) -> None:
        """Take no jobs for some seconds: processes cannot be started just now."""
        self._paused_until = self._clock.monotonic() + PAUSE_S

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""
        return 0 if self._clock.monotonic() < self._paused_until else self._orchestrator.free_slots

    async def wait_for_slot(self) -> None:
        """Wait until there is room for one."""
        while True:
            await self._orchestrator.wait_for_slot()
            left = self._paused_until - self._clock.monotonic()
            if left <= 0:
                return
            await anyio.sleep(left)
