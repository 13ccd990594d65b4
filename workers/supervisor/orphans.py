"""What comes to the supervisor when a worker process dies: everything that descended from it, and nothing else.

A live worker is a subreaper itself and keeps its orphans, so an unknown child of the supervisor is a dead worker's.
Let be are children that were there before, such as come to process number 1 of a container, and local brokers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from typing import Final

from oneshot_queue.local_broker import is_local_broker
from oneshot_queue.workers.processes.procfs import OwnChildren, ProcessStatus, children_of, send_signal, status_of

QUIET_LOOKS: Final = 2
"""Looks in a row that must find nothing; one would do, were ``/proc`` a snapshot."""


class Orphans:
    """The unknown children of this process; those that exist now are let be.

    Nobody is told how they ended: whatever their status, it may have been of their worker's death. Commands fail, or
    just stop, when nobody takes their output any more.
    """

    def __init__(self, spares: Callable[[int], bool] = is_local_broker) -> None:
        self._own_children = OwnChildren()
        self._spares = spares
        self._let_be = self._own_children.read()
        self._quiet_looks = QUIET_LOOKS
        self._not_before = 0
        self._alive: set[int] = set()

    @property
    def are_ending(self) -> bool:
        """Whether a dead worker's processes may be left."""
        return self._quiet_looks < QUIET_LOOKS

    @property
    def resisting(self) -> list[int]:
        """The process ids of what the last look found alive."""
        return sorted(self._alive) if self.are_ending else []

    def end_all(self, not_before: int) -> None:
        """A worker has died: from now on, end what has come from it, until two looks find nothing.

        Args:
            not_before: The clock tick at which the worker was started; what is older is not its own.
        """
        self._not_before = min(not_before, self._not_before) if self.are_ending else not_before
        self._quiet_looks = 0

    def look(self, workers: Collection[int]) -> None:
        """Look once: end what is to be ended, reap what has ended.

        Args:
            workers: The children that are worker processes; they are reaped by somebody else.
        """
        # In this order: if no worker is dead after the look, then none was when what it found came here.
        found = self._own_children.read() - set(workers)
        self._let_be &= found
        strangers = [status for pid in sorted(found) if (status := status_of(pid)) is not None]
        orphans = []
        for status in strangers:
            if status.pid in self._let_be:
                self._bury(status)
            elif self._is_spared(status):
                self._let_be.add(status.pid)
            elif self.are_ending and status.started >= self._not_before:
                orphans.append(status)
            elif not any(map(_has_died, workers)):
                # Whoever has come by now comes from elsewhere.
                self._let_be.add(status.pid)
        if self.are_ending:
            self._quiet_looks = 0 if orphans else self._quiet_looks + 1
            self._alive.clear()
            for status in orphans:
                self._end(status)

    def close(self) -> None:
        """Close the files this object holds."""
        self._own_children.close()

    def _is_spared(self, status: ProcessStatus) -> bool:
        return not status.is_zombie and self._spares(status.pid)

    def _end(self, orphan: ProcessStatus) -> None:
        if self._bury(orphan):
            return
        seen = {orphan.pid}
        pending = [orphan]
        while pending:
            each = pending.pop()
            if not each.is_zombie:
                if self._spares(each.pid):
                    continue
                self._alive.add(each.pid)
                send_signal(each, signal.SIGKILL)
            for pid in children_of(each.pid):
                status = status_of(pid)
                if status is not None and pid not in seen:
                    seen.add(pid)
                    pending.append(status)

    def _bury(self, status: ProcessStatus) -> bool:
        # By number, never any child: nobody may take the status of a worker from who waits for it.
        if not status.is_zombie:
            return False
        try:
            pid, _ = os.waitpid(status.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False
        self._let_be.discard(status.pid)
        return True


def _has_died(worker: int) -> bool:
    try:
        # A look only: its status is for whoever started it.
        return os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
