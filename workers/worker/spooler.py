"""Spools results to disk while Redis cannot accept them, and removes them once it has."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import anyio

from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.spool import Record, Spool
from oneshot_queue.workers.worker.state.completions import Completion
from oneshot_queue.workers.worker.state.held_jobs import HeldJob
from oneshot_queue.workers.worker.threads import run_blocking

logger = logging.getLogger(__name__)

MAX_STALE: Final = 1_000
"""Results that may stay in the spool although Redis has accepted them, while others still wait."""


class Spooler:
    """Writes each result to disk once, and removes the results that Redis has accepted.

    A disk error is logged once and does not end the worker: the results are still in memory.
    """

    def __init__(self, session: Session, spool: Spool) -> None:
        self._clock = session.clock
        self._server_clock = session.server_clock
        self._spool = spool
        self._kept: dict[HeldJob, Record] = {}
        self._stale = 0
        self._has_failed = False
        self._writing = anyio.Lock()

    async def keep(self, completions: Iterable[tuple[HeldJob, Completion]]) -> None:
        """Write these results to disk; a disk error is logged."""
        async with self._writing:
            await self._keep([(held, completion) for held, completion in completions if held not in self._kept])

    async def _keep(self, new: list[tuple[HeldJob, Completion]]) -> None:
        if not new:
            return
        now_s, now_ms = self._clock.monotonic(), self._server_clock.now_ms()
        records = {held: (completion, now_ms - round((now_s - completion.ended_s) * 1000)) for held, completion in new}
        try:
            await run_blocking(lambda: self._spool.keep(list(records.values())))
        except OSError as problem:
            if not self._has_failed:
                logger.error("results cannot be spooled to disk until the broker accepts them: %s", problem)
            self._has_failed = True
            return
        self._kept |= records

    async def release(self, waiting: Iterable[HeldJob]) -> None:
        """Keep only the results of these jobs: Redis has accepted all others."""
        if not self._kept:
            return
        async with self._writing:
            left = set(waiting)
            before = len(self._kept)
            self._kept = {held: record for held, record in self._kept.items() if held in left}
            self._stale += before - len(self._kept)
            if self._stale and (not self._kept or self._stale > MAX_STALE):
                await self._forget_stale()

    async def _forget_stale(self) -> None:
        try:
            await run_blocking(lambda: self._spool.replace(list(self._kept.values())))
        except OSError as problem:
            # Harmless: a result is recorded only once, even if it is read from the spool again.
            logger.warning("the spool cannot be cleared: %s", problem)
        self._stale = 0
