"""How many jobs there is room for: the orchestrator's free slots, or none while the host is out of something."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

import anyio

from oneshot_queue.clock import Clock
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.orchestrator import AsyncOrchestrator

logger = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
RUSH_JOBS: Final = 16
RUSH_S: Final = 0.03
"""So many jobs taken in so short a time are a rush: some five hundred a second."""
LOOK_AGAIN_S: Final = 0.1
"""How long to wait while so many ends of jobs are not on record that no start could be noted."""


class Slots:
    """The claimer's view of the orchestrator.

    Args:
        max_jobs: How many jobs there is room for, ever; ``None`` is any number.
    """

    def __init__(
        self, orchestrator: AsyncOrchestrator, clock: Clock, notes: Journal, *, max_jobs: int | None = None
    ) -> None:
        self._orchestrator = orchestrator
        self._clock = clock
        self._notes = notes
        self._left = max_jobs
        self._used_up = anyio.Event()
        self._paused_until = 0.0
        self._has_complained = False
        self._taken_s: deque[float] = deque(maxlen=RUSH_JOBS)

    def pause(self) -> None:
        """Take no jobs for some seconds: processes cannot be started just now."""
        self._paused_until = self._clock.monotonic() + PAUSE_S

    def take(self) -> None:
        """One job was taken on."""
        self._notes.count_job()
        self._taken_s.append(self._clock.monotonic())
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._used_up.set()

    async def wait_until_used_up(self) -> None:
        """Wait until as many jobs were taken on as there may ever be."""
        await self._used_up.wait()

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""
        if self._clock.monotonic() < self._paused_until:
            return 0
        # Each may be started only if that can be noted first, those too that were submitted and have not begun.
        free = min(self._orchestrator.free_slots, self._notes.free_slots - self._orchestrator.max_concurrent)
        return max(0, free if self._left is None else min(free, self._left))

    @property
    def is_rush(self) -> bool:
        """Whether short jobs crowd in: less than a quarter of the slots is free, and many were taken just now."""
        if self._orchestrator.free_slots * 4 >= self._orchestrator.max_concurrent:
            return False
        return len(self._taken_s) == RUSH_JOBS and self._clock.monotonic() - self._taken_s[0] < RUSH_S

    async def wait_for_slot(self) -> None:
        """Wait until there is room for one."""
        while True:
            if self._used_up.is_set():
                await anyio.sleep_forever()
            await self._orchestrator.wait_for_slot()
            left = self._paused_until - self._clock.monotonic()
            if left > 0:
                await anyio.sleep(left)
            elif self.free_slots:
                self._has_complained = False
                return
            elif not self._used_up.is_set():
                self._complain()
                await anyio.sleep(LOOK_AGAIN_S)

    def _complain(self) -> None:
        # Once: it is said of each of these jobs why it cannot be written.
        if not self._has_complained:
            self._has_complained = True
            logger.error("the ends of so many jobs cannot be written that no more are taken until some are")
