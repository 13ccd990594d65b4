"""How many more jobs this worker may take: the engine's free slots, or none while the host lacks something."""

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
"""It is a rush when this many jobs were taken within this time: some five hundred a second."""
LOOK_AGAIN_S: Final = 0.1
"""How often to look for room in the journal while too many results wait to be recorded."""


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
    """Where each start is recorded before it happens."""

    @property
    def free_slots(self) -> int:
        """Starts that can be recorded before the result of one is."""

    def count_job(self) -> None:
        """One more job was taken."""


class Slots:
    """How many more jobs this worker may take.

    Args:
        max_jobs: Jobs to take in the life of this worker; ``None`` for any number.
    """

    def __init__(self, engine: Engine, clock: Clock, journal: Journal, *, max_jobs: int | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._journal = journal
        self._left = max_jobs
        self._used_up = anyio.Event()
        self._paused_until = 0.0
        self._has_complained = False
        self._taken_s: deque[float] = deque(maxlen=RUSH_JOBS)

    def pause(self) -> None:
        """Take no jobs for ``PAUSE_S`` seconds: the host cannot start processes now."""
        self._paused_until = self._clock.monotonic() + PAUSE_S

    def take(self) -> None:
        """One job was taken."""
        self._journal.count_job()
        self._taken_s.append(self._clock.monotonic())
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._used_up.set()

    async def wait_until_used_up(self) -> None:
        """Wait until ``max_jobs`` jobs were taken."""
        await self._used_up.wait()

    @property
    def free_slots(self) -> int:
        """Jobs that would start at once."""
        if self._clock.monotonic() < self._paused_until:
            return 0
        # Each job needs room in the journal before it starts, also those that were submitted and have not started.
        free = min(self._engine.free_slots, self._journal.free_slots - self._engine.max_concurrent)
        return max(0, free if self._left is None else min(free, self._left))

    @property
    def is_rush(self) -> bool:
        """Whether many short jobs arrive at once: under a quarter of the slots is free, and many were just taken."""
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
                self._has_complained = False
                return
            elif not self._used_up.is_set():
                self._complain()
                await anyio.sleep(LOOK_AGAIN_S)

    def _complain(self) -> None:
        # Once: each of these jobs has a log record of its own that says why its result cannot be recorded.
        if not self._has_complained:
            self._has_complained = True
            logger.error("claiming is paused: too many results are waiting to be recorded")
