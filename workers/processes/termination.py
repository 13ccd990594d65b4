"""The end of one attempt's processes: noticed when it comes, and brought about when asked.

The ladder: TERM to the group and to what left it, CONT, the grace, KILL. Once the leader is a zombie, whatever else is
left goes the same way (``Sweep``); only then is the leader reaped, so that its number stays its group's to the end.
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
"""What processes get between TERM and KILL that outlived a leader which ended by itself."""


class Termination:
    """Waits for the leader of an attempt and ends what is left after it; on demand ends the leader too.

    Args:
        survive_s: Seconds after SIGKILL until what still lives is called a survivor.
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
        """Whether the leader has ended, though perhaps nobody was told yet."""
        return self._leader_done.is_set() or self._process.has_exited()

    def begin(self, grace_s: float) -> None:
        """Ask every process of the attempt to end, and kill them ``grace_s`` seconds from now."""
        if self._kill_at is None and grace_s > 0:
            self._ask_all()
        self.hasten(grace_s)

    def hasten(self, grace_s: float) -> None:
        """Kill ``grace_s`` seconds from now, unless that is later than planned."""
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
        """Kill at once, and wait at most ``survive_s`` for the effect."""
        self._survive_s = min(self._survive_s, survive_s)
        self._kill_at = self._loop.time()
        if not self._leader_done.is_set():
            self._kill()

    async def finish(self) -> tuple[int, ...]:
        """Wait until no process but the leader's zombie is left; the process ids of what survived SIGKILL."""
        await self._leader_done.wait()
        self._stop_timer()
        survivors = await self._sweep_up()
        self._is_over = True
        # At once: until then it is suspected of every stray that no other attempt is sure of.
        self._lineage.is_swept = not survivors
        return survivors

    async def outlast_survivors(self) -> None:
        """After ``finish`` named survivors: keep killing until they are gone, however long that takes."""
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
        # Look first: once the leader dies of its TERM, its descendants have lost the way back to it.
        members = self._members()
        self._process.signal_group(signal.SIGTERM)
        # A stopped process sees TERM only when it goes on.
        self._process.signal_group(signal.SIGCONT)
        self._lineage.warned |= {(each.pid, each.started) for each in members if each.group == self._process.pid}
        self._end(members, kill=False)

    def _kill(self) -> None:
        members = self._members()
        self._process.signal_group(signal.SIGKILL)
        self._end(members, kill=True)
        self._set_timer(self._survive_s, self._on_leader_done)

    def _on_leader_done(self) -> None:
        """The leader is a zombie now, or not even SIGKILL ended it in time."""
        self._readiness.forget(self._process.pidfd)
        self._stop_timer()
        self._leader_done.set()

    def _members(self) -> list[ProcessStatus]:
        try:
            return self._tree.remains(self._lineage).alive
        except OSError:
            # No descriptor to spare. The group is signalled without looking, and the sweep finds the rest.
            return []

    def _end(self, members: list[ProcessStatus], *, kill: bool) -> None:
        try:
            end_processes(self._lineage, members, kill=kill)
        except OSError:
            # As above.
            return

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(delay_s, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
