"""End what an attempt left behind, and prove that it is gone."""

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

QUIET_LOOKS: Final = 2
"""Looks in a row that must find nothing; one would do, were ``/proc`` a snapshot."""

_WATCHED_AT_ONCE: Final = 16
_LOOK_AGAIN_S: Final = 1.0
"""How long to trust that everything that lives is watched, or was signalled."""

_BLIND_WAIT_S: Final = 0.05
"""How long to wait where no descriptor can be had to wait on."""


class Sweep:
    """TERM to all processes of an attempt but its leader, KILL from ``kill_at`` on, until none is left.

    Waits on the processes themselves; looks again after each wait, since what dies may hand its children to us.

    Args:
        kill_at: When politeness ends, by the loop's clock.
        survive_s: Seconds after the first KILL until what still lives is called a survivor; ``None`` is never.
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
        """Let politeness end earlier."""
        self._kill_at = min(self._kill_at, kill_at)
        self._hastened.set()

    async def run(self) -> tuple[int, ...]:
        """Sweep until nothing is left; the process ids of what survived SIGKILL."""
        quiet = 0
        try:
            while quiet < QUIET_LOOKS:
                try:
                    remains = self._tree.remains(self._lineage)
                    now = self._loop.time()
                    is_killing = now >= self._kill_at
                    end_processes(self._lineage, remains.alive, kill=is_killing)
                except OSError:
                    # No descriptor to spare.
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
                await self._until_gone(remains.alive, min(deadline - now, _LOOK_AGAIN_S))
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
    """Ask processes to end, each once, or kill them: the leader's group as one, so that no fork slips through."""
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
            # A stopped process sees TERM only when it goes on.
            send_signal(target, signal.SIGCONT)
