"""Kills the descendants of a dead worker process, which become children of the supervisor.

A live worker is a subreaper itself and keeps its orphans, so an unknown child of the supervisor comes from a dead
worker. Two kinds of children are ignored: local brokers, and processes from elsewhere, because process 1 of a container
inherits every orphan in it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from typing import Final

from oneshot_queue.local_broker import is_local_broker
from oneshot_queue.workers.processes.procfs import OwnChildren, ProcessStatus, children_of, send_signal, status_of

QUIET_CHECKS: Final = 2
"""Consecutive checks that must find nothing. One is not enough, because ``/proc`` is not a snapshot."""


class Orphans:
    """The unknown children of this process. Children that exist when this object is created are ignored.

    Their exit status is discarded, because the death of their worker may have caused it: a command may fail or exit
    when nothing reads its output.

    Args:
        spares: Returns whether to ignore a process and all its descendants.
    """

    def __init__(self, spares: Callable[[int], bool] = is_local_broker) -> None:
        self._own_children = OwnChildren()
        self._spares = spares
        self._ignored = self._own_children.read()
        self._quiet_checks = QUIET_CHECKS
        self._not_before = 0
        self._alive: set[int] = set()

    @property
    def are_ending(self) -> bool:
        """Whether processes of a dead worker may still be alive."""
        return self._quiet_checks < QUIET_CHECKS

    @property
    def resisting(self) -> list[int]:
        """Ids of the processes that the last check found alive."""
        return sorted(self._alive) if self.are_ending else []

    def end_all(self, not_before: int) -> None:
        """Start killing the descendants of a dead worker; ``check`` goes on until ``QUIET_CHECKS`` checks find none.

        Args:
            not_before: The clock tick at which the worker was started; older processes are not its descendants.
        """
        self._not_before = min(not_before, self._not_before) if self.are_ending else not_before
        self._quiet_checks = 0

    def check(self, workers: Collection[int]) -> None:
        """Check once: kill the orphans that are alive, reap those that are dead.

        Args:
            workers: Ids of the worker processes; their ``Child`` reaps them.
        """
        # Read the children first: if all workers are still alive afterwards, they were alive during the read.
        found = self._own_children.read() - set(workers)
        self._ignored &= found
        strangers = [status for pid in sorted(found) if (status := status_of(pid)) is not None]
        orphans = []
        for status in strangers:
            if status.pid in self._ignored:
                self._reap(status)
            elif self._is_spared(status):
                self._ignored.add(status.pid)
            elif self.are_ending and status.started >= self._not_before:
                orphans.append(status)
            elif not any(map(_has_died, workers)):
                # All workers are alive, so this process comes from elsewhere.
                self._ignored.add(status.pid)
        if self.are_ending:
            self._quiet_checks = 0 if orphans else self._quiet_checks + 1
            self._alive.clear()
            for status in orphans:
                self._end(status)

    def close(self) -> None:
        """Close its files."""
        self._own_children.close()

    def _is_spared(self, status: ProcessStatus) -> bool:
        return not status.is_zombie and self._spares(status.pid)

    def _end(self, orphan: ProcessStatus) -> None:
        if self._reap(orphan):
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

    def _reap(self, status: ProcessStatus) -> bool:
        # By process id, never any child: only its ``Child`` may reap a worker.
        if not status.is_zombie:
            return False
        try:
            pid, _ = os.waitpid(status.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False
        self._ignored.discard(status.pid)
        return True


def _has_died(worker: int) -> bool:
    try:
        # Without reaping it: its status is for its ``Child``.
        return os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
