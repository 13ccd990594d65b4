"""Attributes processes to attempts, including those that left the group, the session and the parents of their attempt.

Every process of an attempt descends either from its leader or from an orphan. Orphans become children of this process,
because it is a child subreaper. After the exit of a leader, one read of our own children is enough: if every child is
known, no process of the attempt is left. An unknown child is a stray. It is attributed by

1. its session, if the attempt has used it (plain orphans, ``nohup``, pipelines);
2. the cookie in its environment (``setsid``, double forks);
3. a pipe or a terminal of the attempt that it still holds (``setsid env -i`` with inherited output);
4. elimination, only if this process owns all its children: a stray that is older than every other live attempt belongs
   to the remaining one. If several attempts are possible, the last of them to end takes it.

If this process is a user's application, a child that matches none of the first three is left alone.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from oneshot_queue.workers.processes.environment import JOB_ID_VARIABLE, TOKEN_VARIABLE
from oneshot_queue.workers.processes.process import Process
from oneshot_queue.workers.processes.procfs import (
    OwnChildren,
    ProcessStatus,
    children_of,
    environment_entry,
    environment_of,
    send_signal,
    standard_files_of,
    status_of,
)

logger = logging.getLogger(__name__)

_RESERVED: Final = 4


@dataclass(slots=True, eq=False)
class Lineage:
    """What identifies the processes of one attempt.

    Attributes:
        process: The leader.
        not_before: Clock ticks since boot. No process of the attempt is older.
        cookies: Environment entries that only processes of the attempt have.
        sessions: Sessions of the leader and of the processes found so far.
        warned: Processes that were sent TERM, as ``(pid, started)``, so that none gets it twice.
        known: Processes found to belong to the attempt, as ``(pid, started)``.
        is_swept: Whether only the leader is left, so that a new stray cannot belong to the attempt.
    """

    process: Process
    not_before: int
    cookies: tuple[bytes, bytes]
    sessions: set[int] = field(default_factory=set)
    warned: set[tuple[int, int]] = field(default_factory=set)
    known: set[tuple[int, int]] = field(default_factory=set)
    is_swept: bool = False

    @classmethod
    def of(cls, process: Process, not_before: int, *, job_id: str, token: str) -> Lineage:
        """Return the lineage of a process that was just spawned as the leader of its session."""
        cookies = (environment_entry(JOB_ID_VARIABLE, job_id), environment_entry(TOKEN_VARIABLE, token))
        return cls(process, not_before, cookies, {process.pid})

    def claims(self, status: ProcessStatus) -> bool:
        """Return whether the process is known, or is in a session of the attempt."""
        return (status.pid, status.started) in self.known or status.session in self.sessions

    def recognises(self, environment: bytes, files: set[str]) -> bool:
        """Return whether a process with this environment and these open files must belong to the attempt."""
        if all(cookie in environment for cookie in self.cookies):
            return True
        return bool(files) and not files.isdisjoint(self.process.output_names())

    def adopt(self, status: ProcessStatus) -> None:
        """Remember the process, and its session: processes it leaves behind stay in that session."""
        self.known.add((status.pid, status.started))
        if status.session != os.getsid(0):
            self.sessions.add(status.session)


@dataclass(slots=True)
class Remains:
    """What one search found of an attempt, apart from its leader.

    Attributes:
        alive: Its live processes.
        is_quiet: Whether nothing was found, not even a zombie. The children of a zombie may have become ours since.
    """

    alive: list[ProcessStatus]
    is_quiet: bool


class ProcessTree:
    """Attributes the descendants of this process to attempts. Create it in the thread that spawns.

    Args:
        owns_children: Whether every child of this process belongs to an attempt, except the children it has now.
        spares: Called with the process id of a stray. If true, the stray also serves others, and is not ended.
    """

    def __init__(self, *, owns_children: bool, spares: Callable[[int], bool] = lambda _: False) -> None:
        self._owns_children = owns_children
        self._spares = spares
        self._spared: set[int] = set()
        self._own_children = OwnChildren()
        self._lineages: set[Lineage] = set()
        self._leaders: set[int] = set()
        self._bystanders = self._own_children.read()
        self._is_blind = False
        self._reserve: list[int] = []
        self.restore_reserve()

    def register(self, lineage: Lineage) -> None:
        """Add a new attempt. To be called before another command is spawned."""
        self._lineages.add(lineage)
        self._leaders.add(lineage.process.pid)

    def release_leader(self, lineage: Lineage) -> None:
        """Forget the leader's process id. To be called immediately before the leader is reaped."""
        self._leaders.discard(lineage.process.pid)

    def forget(self, lineage: Lineage) -> None:
        """Remove an attempt that has no process left."""
        self._lineages.discard(lineage)

    def strays(self) -> set[int]:
        """Return our children that are no leaders and did not exist before this object. Cheap, and usually empty."""
        children = self._own_children.read()
        if self._bystanders:
            self._bystanders &= children
        return children - self._leaders - self._bystanders - self._spared

    def remains(self, lineage: Lineage) -> Remains:
        """Search once for processes of an attempt, apart from its leader. Reap zombies that are our children.

        Raises:
            OSError: ``/proc`` could not be read now, because no descriptor is free.
        """
        alive: list[ProcessStatus] = []
        is_quiet = True
        for pid in self.strays():
            status = status_of(pid)
            if status is None or self._owner_of(status) is not lineage:
                continue
            is_quiet = False
            lineage.adopt(status)
            if not (status.is_zombie and _reap(pid)):
                alive.append(status)
        seen = {status.pid for status in alive}
        pending = [*seen] if lineage.process.is_reaped else [lineage.process.pid, *seen]
        while pending:
            for pid in children_of(pending.pop()):
                status = status_of(pid)
                if status is None or pid in seen:
                    continue
                is_quiet = False
                seen.add(pid)
                pending.append(pid)
                lineage.adopt(status)
                if not status.is_zombie:
                    alive.append(status)
        return Remains(alive, is_quiet)

    def clean_up_strays(self) -> None:
        """Reap dead strays, and kill live ones that cannot belong to any attempt.

        Without a free descriptor nothing can be inspected. That is logged once, and the next call tries again.
        """
        try:
            self._clean_up_strays()
        except OSError as problem:
            if not self._is_blind:
                logger.warning("cannot inspect stray processes; will retry: %s", problem.strerror)
            self._is_blind = True
        else:
            self._is_blind = False

    def _clean_up_strays(self) -> None:
        self._spared = {pid for pid in self._spared if (status := status_of(pid)) is not None and not status.is_zombie}
        for pid in self.strays():
            status = status_of(pid)
            if status is None:
                continue
            owner = self._owner_of(status)
            if status.is_zombie and (self._owns_children or owner is not None):
                _reap(pid)
            elif self._owns_children and owner is None and pid not in self._spared and not self._suspects(status):
                send_signal(status, signal.SIGKILL)

    def release_reserve(self) -> None:
        """Free a few descriptors that are kept for a sweep: without any, it could not find the processes to end."""
        while self._reserve:
            os.close(self._reserve.pop())

    def restore_reserve(self) -> None:
        """Reopen the reserved descriptors, up to what this process may open."""
        try:
            while len(self._reserve) < _RESERVED:
                self._reserve.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return

    def close(self) -> None:
        """Close the files of this object."""
        self.release_reserve()
        self._own_children.close()

    def __del__(self) -> None:
        self.release_reserve()

    def _owner_of(self, status: ProcessStatus) -> Lineage | None:
        lineages = [lineage for lineage in self._lineages if not lineage.is_swept]
        for lineage in lineages:
            if lineage.claims(status):
                return lineage
        if not status.is_zombie:
            environment = environment_of(status.pid)
            files = standard_files_of(status.pid)
            for lineage in lineages:
                if lineage.recognises(environment, files):
                    return lineage
        if self._owns_children and not status.is_zombie and self._spares(status.pid):
            self._spared.add(status.pid)
        elif self._owns_children:
            suspects = self._suspects(status)
            if len(suspects) == 1:
                return suspects[0]
        return None

    def _suspects(self, status: ProcessStatus) -> list[Lineage]:
        """Return the attempts that a process may belong to, by age."""
        return [each for each in self._lineages if not each.is_swept and each.not_before <= status.started]


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
