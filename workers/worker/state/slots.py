"""How many more jobs this worker may claim: the engine's free slots, or none while claiming is paused."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final, Protocol

import anyio

from oneshot_queue.clock import Clock

logger = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
RUSH_JOBS: Final = 16
RUSH_S: Final = 0.03
"""It is a rush when ``RUSH_JOBS`` jobs were claimed within this time: about 500 a second."""
LOOK_AGAIN_S: Final = 0.1
"""Time between two checks for room in the journal while too many results wait to be recorded."""


class Engine(Protocol):
    """Runs the jobs."""

    @property
    def max_concurrent(self) -> int:
        """Jobs that may run at once."""

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""

    async def wait_for_slot(self) -> None:
        """Wait until a job would start at once."""


class Journal(Protocol):
    """Records each start before it happens."""

    @property
    def free_slots(self) -> int:
        """Number of jobs whose start can be recorded before a slot becomes free."""

    def count_job(self) -> None:
        """Count one more job."""


class Slots:
    """How many more jobs this worker may claim.

    Args:
        max_jobs: Most jobs to claim during the life of this worker; ``None`` for no limit.
    """

    def __init__(self, engine: Engine, clock: Clock, journal: Journal, *, max_jobs: int | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._journal = journal
        self._left = max_jobs
        self._used_up = anyio.Event()
        self._paused_until = 0.0
        self._has_logged = False
        self._taken_s: deque[float] = deque(maxlen=RUSH_JOBS)

    def pause(self) -> None:
        """Pause claiming for ``PAUSE_S`` seconds: the host cannot start processes now."""
        self._paused_until = self._clock.monotonic() + PAUSE_S

    def take(self) -> None:
        """Count one more claimed job."""
        self._journal.count_job()
        self._taken_s.append(self._clock.monotonic())
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._used_up.set()

    async def wait_until_used_up(self) -> None:
        """Wait until ``max_jobs`` jobs were claimed."""
        await self._used_up.wait()

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""
        if self._clock.monotonic() < self._paused_until:
            return 0
        # Every job needs a slot in the journal before it starts, including those submitted but not started yet.
        free = min(self._engine.free_slots, self._journal.free_slots - self._engine.max_concurrent)
        return max(0, free if self._left is None else min(free, self._left))

    @property
    def is_rush(self) -> bool:
        """Whether many short jobs arrive at once: fewer than a quarter of the slots are free, and many jobs are new."""
        if self._engine.free_slots * 4 >= self._engine.max_concurrent:
            return False
        return len(self._taken_s) == RUSH_JOBS and self._clock.monotonic() - self._taken_s[0] < RUSH_S

    async def wait_for_slot(self) -> None:
        """Wait until there is room for one job."""
        while True:
            if self._used_up.is_set():
                await anyio.sleep_forever()
            await self._engine.wait_for_slot()
            left = self._paused_until - self._clock.monotonic()
            if left > 0:
                await anyio.sleep(left)
            elif self.free_slots:
                self._has_logged = False
                return
            elif not self._used_up.is_set():
                self._log_full_journal()
                await anyio.sleep(LOOK_AGAIN_S)

    def _log_full_journal(self) -> None:
        # Log it once: each of these jobs has its own log record about why its result cannot be recorded.
        if not self._has_logged:
            self._has_logged = True
            logger.error("claiming is paused: too many results are waiting to be recorded")
