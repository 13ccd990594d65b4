"""Ends the processes that outlive the leader of an attempt, and proves that they are gone."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Sequence
from typing import Final

import anyio
import anyio.lowlevel

from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.workers.processes.process_tree import Lineage, ProcessTree
from oneshot_queue.workers.processes.procfs import ProcessStatus, send_signal

QUIET_SEARCHES: Final = 2
"""Searches in a row that must find nothing. One is not enough, because ``/proc`` is not a snapshot."""

_WATCHED_AT_ONCE: Final = 16
_RESCAN_S: Final = 1.0
"""Longest wait between two searches: a process that started meanwhile is neither watched nor signalled."""

_BLIND_WAIT_S: Final = 0.05
"""Wait between two searches while no descriptor is free to watch a process."""


class Sweep:
    """Sends TERM to all processes of an attempt but its leader, and KILL from ``kill_at`` on, until none is left.

    It waits for the processes through pidfds. After each wait it searches again: the children of a process that died
    have become children of this process.

    Args:
        kill_at: When to send KILL instead of TERM, in seconds of the event loop's clock.
        survive_s: Seconds after the first KILL until a live process counts as a survivor; ``None`` means never.
    """

    def __init__(self, tree: ProcessTree, lineage: Lineage, *, kill_at: float, survive_s: float | None) -> None:
        self._tree = tree
        self._lineage = lineage
        self._kill_at = kill_at
        self._survive_s = survive_s
        self._loop = asyncio.get_running_loop()
        self._first_kill_at: float | None = None
        self._hastened = asyncio.Event()

    def hasten(self, kill_at: float) -> None:
        """Send KILL from ``kill_at`` on, if that is earlier."""
        self._kill_at = min(self._kill_at, kill_at)
        self._hastened.set()

    async def run(self) -> tuple[int, ...]:
        """Sweep until nothing is left. Return the process ids of survivors of SIGKILL."""
        quiet = 0
        try:
            while quiet < QUIET_SEARCHES:
                try:
                    remains = self._tree.remains(self._lineage)
                    now = self._loop.time()
                    is_killing = now >= self._kill_at
                    end_processes(self._lineage, remains.alive, kill=is_killing)
                except OSError:
                    # No free descriptor.
                    self._tree.release_reserve()
                    await self._until_gone((), _BLIND_WAIT_S)
                    continue
                quiet = quiet + 1 if remains.is_quiet else 0
                if not remains.alive:
                    if not remains.is_quiet:
                        await anyio.lowlevel.checkpoint()
                    continue
                if is_killing and now >= self._give_up_at(now):
                    return tuple(sorted(status.pid for status in remains.alive))
                deadline = self._give_up_at(now) if is_killing else self._kill_at
                await self._until_gone(remains.alive, min(deadline - now, _RESCAN_S))
        finally:
            self._tree.restore_reserve()
        return ()

    def _give_up_at(self, now: float) -> float:
        if self._survive_s is None:
            return math.inf
        if self._first_kill_at is None:
            self._first_kill_at = now
        return self._first_kill_at + self._survive_s

    async def _until_gone(self, targets: Sequence[ProcessStatus], timeout_s: float) -> None:
        loop = self._loop
        self._hastened.clear()
        watched: set[int] = set()
        sees_all = bool(targets)

        def is_gone(pidfd: int) -> None:
            loop.remove_reader(pidfd)
            watched.discard(pidfd)
            os.close(pidfd)
            if not watched:
                self._hastened.set()

        for target in targets[:_WATCHED_AT_ONCE]:
            try:
                pidfd = pidfd_open(target.pid)
            except ProcessLookupError:
                continue
            except OSError:
                sees_all = False
                timeout_s = min(timeout_s, _BLIND_WAIT_S)
                break
            watched.add(pidfd)
            loop.add_reader(pidfd, is_gone, pidfd)
        if sees_all and not watched:
            return
        try:
            with anyio.move_on_after(timeout_s):
                await self._hastened.wait()
        finally:
            for pidfd in watched:
                loop.remove_reader(pidfd)
                os.close(pidfd)


def end_processes(lineage: Lineage, targets: Sequence[ProcessStatus], *, kill: bool) -> None:
    """Send TERM to each process once, or KILL to all: the leader's group in one call, so that no fork is missed."""
    if not targets:
        return
    leader = lineage.process
    if kill:
        leader.signal_group(signal.SIGKILL)
        for target in targets:
            if target.group != leader.pid or leader.is_reaped:
                send_signal(target, signal.SIGKILL)
        return
    for target in targets:
        if (target.pid, target.started) not in lineage.warned:
            lineage.warned.add((target.pid, target.started))
            send_signal(target, signal.SIGTERM)
            # A stopped process handles TERM only when it continues.
            send_signal(target, signal.SIGCONT)
