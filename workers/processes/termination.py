"""Waits for the processes of one attempt to end, and ends them on request.

The steps: TERM to the group and to processes that left it, CONT, the grace period, KILL. When the leader is a zombie,
``Sweep`` ends the remaining processes the same way. The leader is reaped last, so that its group id is not reused.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from oneshot_queue.workers.processes.process import Process
from oneshot_queue.workers.processes.process_tree import Lineage, ProcessTree
from oneshot_queue.workers.processes.procfs import ProcessStatus
from oneshot_queue.workers.processes.readiness import Readiness
from oneshot_queue.workers.processes.sweep import Sweep, end_processes

STRAY_GRACE_S: Final = 0.5
"""Seconds between TERM and KILL for processes that outlive a leader which exited by itself."""


class Termination:
    """Waits for the leader of an attempt, then ends the processes it left. On request it ends the leader too.

    Args:
        survive_s: Seconds after SIGKILL until a live process counts as a survivor.
    """

    def __init__(
        self, process: Process, lineage: Lineage, tree: ProcessTree, readiness: Readiness, *, survive_s: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._lineage = lineage
        self._tree = tree
        self._readiness = readiness
        self._survive_s = survive_s
        self._leader_done = asyncio.Event()
        self._kill_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sweep: Sweep | None = None
        self._is_over = False
        readiness.watch(process.pidfd, self._on_leader_done)

    def has_exited(self) -> bool:
        """Return whether the leader has exited, even if the event loop has not noticed yet."""
        return self._leader_done.is_set() or self._process.has_exited()

    def begin(self, grace_s: float) -> None:
        """Send TERM to every process of the attempt, and KILL after ``grace_s`` seconds."""
        if self._kill_at is None and grace_s > 0:
            self._ask_all()
        self.hasten(grace_s)

    def hasten(self, grace_s: float) -> None:
        """Send KILL after ``grace_s`` seconds, unless it is due earlier anyway."""
        kill_at = self._loop.time() + grace_s
        if self._is_over or (self._kill_at is not None and self._kill_at <= kill_at):
            return
        self._kill_at = kill_at
        if self._sweep is not None:
            self._sweep.hasten(kill_at)
        elif grace_s > 0:
            self._set_timer(grace_s, self._kill)
        else:
            self._kill()

    def kill_now(self, *, survive_s: float) -> None:
        """Send KILL at once, and wait at most ``survive_s`` seconds for the processes to end."""
        self._survive_s = min(self._survive_s, survive_s)
        self._kill_at = self._loop.time()
        if not self._leader_done.is_set():
            self._kill()

    async def finish(self) -> tuple[int, ...]:
        """Wait until only the leader's zombie is left. Return the process ids of survivors of SIGKILL."""
        await self._leader_done.wait()
        self._stop_timer()
        survivors = await self._sweep_up()
        self._is_over = True
        # Without delay: until this is set, unidentified strays may be attributed to this attempt.
        self._lineage.is_swept = not survivors
        return survivors

    async def outlast_survivors(self) -> None:
        """After ``finish`` returned survivors, keep sending KILL until they are gone, without a time limit."""
        if not self._process.is_reaped:
            exited = asyncio.Event()
            self._readiness.watch(self._process.pidfd, exited.set)
            try:
                self._process.signal_group(signal.SIGKILL)
                await exited.wait()
            finally:
                self._readiness.forget(self._process.pidfd)
            self._tree.release_leader(self._lineage)
            self._process.reap()
        await Sweep(self._tree, self._lineage, kill_at=0.0, survive_s=None).run()

    async def _sweep_up(self) -> tuple[int, ...]:
        if self._process.has_exited() and not self._tree.strays():
            return ()
        kill_at = self._kill_at if self._kill_at is not None else self._loop.time() + STRAY_GRACE_S
        self._sweep = Sweep(self._tree, self._lineage, kill_at=kill_at, survive_s=self._survive_s)
        survivors = await self._sweep.run()
        return survivors if self._process.has_exited() else (self._process.pid, *survivors)

    def _ask_all(self) -> None:
        # Look first: when TERM ends the leader, its descendants can no longer be found through it.
        members = self._members()
        self._process.signal_group(signal.SIGTERM)
        # A stopped process handles TERM only when it continues.
        self._process.signal_group(signal.SIGCONT)
        self._lineage.warned |= {(each.pid, each.started) for each in members if each.group == self._process.pid}
        self._end(members, kill=False)

    def _kill(self) -> None:
        members = self._members()
        self._process.signal_group(signal.SIGKILL)
        self._end(members, kill=True)
        self._set_timer(self._survive_s, self._on_leader_done)

    def _on_leader_done(self) -> None:
        """Wake ``finish``: the leader is a zombie, or SIGKILL did not end it in time."""
        self._readiness.forget(self._process.pidfd)
        self._stop_timer()
        self._leader_done.set()

    def _members(self) -> list[ProcessStatus]:
        try:
            return self._tree.remains(self._lineage).alive
        except OSError:
            # No free descriptor. Signal only the group; the sweep finds the other processes.
            return []

    def _end(self, members: list[ProcessStatus], *, kill: bool) -> None:
        try:
            end_processes(self._lineage, members, kill=kill)
        except OSError:
            # No free descriptor. The sweep ends the processes later.
            return

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(delay_s, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
