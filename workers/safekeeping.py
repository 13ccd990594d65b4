"""Which endings lie on disk because Redis cannot take them now."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import anyio

from oneshot_queue.clock import Clock
from workers.endings import Ending
from workers.holdings import HeldJob, ServerClock
from workers.spool import Spool

logger = logging.getLogger(__name__)


class Safekeeping:
    """Brings each ending to the disk once, and empties it when Redis has taken them all.

    A disk that is full or broken is told and outlived: the endings are still in memory.
    """

    def __init__(self, spool: Spool, clock: Clock, server_clock: ServerClock) -> None:
        self._spool = spool
        self._clock = clock
        self._server_clock = server_clock
        self._kept: set[HeldJob] = set()
        self._has_failed = False
        self._writing = anyio.Lock()

    async def keep(self, endings: Iterable[tuple[HeldJob, Ending]]) -> None:
        """Return when these endings are on the disk, or cannot be."""
        async with self._writing:
            await self._keep([(held, ending) for held, ending in endings if held not in self._kept])

    async def _keep(self, new: list[tuple[HeldJob, Ending]]) -> None:
        if not new:
            return
        now_s, now_ms = self._clock.monotonic(), self._server_clock.now_ms()
        records = [(ending, now_ms - round((now_s - ending.ended_s) * 1000)) for _, ending in new]
        try:
            await anyio.to_thread.run_sync(self._spool.keep, records)
        except OSError as problem:
            if not self._has_failed:
                logger.error("ends of jobs cannot be kept on disk until the broker takes them: %s", problem)
            self._has_failed = True
            return
        self._kept |= {held for held, _ in new}

    async def release(self, waiting: Iterable[HeldJob]) -> None:
        """Only these still wait for Redis."""
        if not self._kept:
            return
        async with self._writing:
            if self._kept.isdisjoint(waiting):
                try:
                    await anyio.to_thread.run_sync(self._spool.clear)
                except OSError as problem:
                    # What lies there counts once, however often it is read.
                    logger.warning("the spool cannot be emptied: %s", problem)
                self._kept.clear()
