"""Whose is this process? All that descends from an attempt, also what left its group, session and parents.

Every process of an attempt either still hangs under its leader, or under a process whose parents have died and that was
given to us, because this process is a child subreaper. So after a leader's exit our own children tell everything: if
none is unknown, nothing of the attempt is left, at the price of one read. An unknown child ("stray") is attributed by

1. its session, if that is one of the attempt's (plain orphans, ``nohup``, pipelines);
2. the cookie in its environment (``setsid``, double forks);
3. a pipe or a terminal of the attempt that it still holds (``setsid env -i`` with inherited output);
4. elimination, only where this process owns all its children: a stray older than every other live attempt can only
   belong to the one that is left. One that could be several attempts' is taken by the last of them to end.

Where the process is somebody else's application, a child that none of the first three claims is never touched.
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
    environment_of,
    send_signal,
    standard_files_of,
    status_of,
)

logger = logging.getLogger(__name__)

_RESERVED: Final = 4


@dataclass(slots=True, eq=False)
class Lineage:
    """By what the processes of one attempt are known.

    Attributes:
        not_before: Clock ticks at which nothing of it existed yet.
        cookies: Entries that only its processes have in their environment.
        sessions: Its leader's, and those its other processes were found in.
        warned: Processes that were asked to end, as ``(pid, started)``, so that none is asked twice.
        known: Processes that were found to be its own, as ``(pid, started)``.
        is_swept: Nothing of it is left but its leader: what turns up from now on is another's.
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
        """The lineage that begins with a process just spawned as leader of its session."""
        cookies = (_entry(JOB_ID_VARIABLE, job_id), _entry(TOKEN_VARIABLE, token))
        return cls(process, not_before, cookies, {process.pid})

    def claims(self, status: ProcessStatus) -> bool:
        """Whether the process is certainly this attempt's."""
        return (status.pid, status.started) in self.known or status.session in self.sessions

    def recognises(self, environment: bytes, files: set[str]) -> bool:
        """Whether a process with this environment and these open files can only be this attempt's."""
        if all(cookie in environment for cookie in self.cookies):
            return True
        return bool(files) and not files.isdisjoint(self.process.output_names())

    def adopt(self, status: ProcessStatus) -> None:
        """Remember the process, and its session for what it may leave behind."""
        self.known.add((status.pid, status.started))
        if status.session != os.getsid(0):
            self.sessions.add(status.session)


@dataclass(slots=True)
class Remains:
    """What one look found of an attempt besides its leader.

    Attributes:
        alive: Its live processes.
        is_quiet: Nothing was found at all, not even a dead process whose children may have come to us meanwhile.
    """

    alive: list[ProcessStatus]
    is_quiet: bool


class ProcessTree:
    """Everything below this process, sorted by attempt. To be created in the thread that spawns.

    Args:
        owns_children: Every child of this process, those that exist now excepted, belongs to some attempt.
        spares: Says of a stray that it serves others than the attempt that happened to start it: it lives on.
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
        """Take a new attempt into account; to be called before anything else can spawn."""
        self._lineages.add(lineage)
        self._leaders.add(lineage.process.pid)

    def release_leader(self, lineage: Lineage) -> None:
        """Stop counting on the leader's number; to be called right before it is reaped."""
        self._leaders.discard(lineage.process.pid)

    def forget(self, lineage: Lineage) -> None:
        """Drop an attempt of which nothing is left."""
        self._lineages.discard(lineage)

    def strays(self) -> set[int]:
        """Children of ours that are no attempt's leader and did not exist before us. Cheap; usually none."""
        children = self._own_children.read()
        if self._bystanders:
            self._bystanders &= children
        return children - self._leaders - self._bystanders - self._spared

    def remains(self, lineage: Lineage) -> Remains:
        """Look once for processes of an attempt besides its leader, and reap those of them that are ours and dead.

        Raises:
            OSError: ``/proc`` could not be read now (no descriptor to spare).
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

    def tend_strays(self) -> None:
        """Take what has exited off the process table, and end what no attempt is left to answer for.

        Without a descriptor to spare nothing can be looked at; the next call may do better.
        """
        try:
            self._tend_strays()
        except OSError as problem:
            if not self._is_blind:
                logger.warning("strays cannot be looked at now, but will be as soon as they can: %s", problem.strerror)
            self._is_blind = True
        else:
            self._is_blind = False

    def _tend_strays(self) -> None:
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
        """Give up a few descriptors kept for this: without any, nobody could look at what has to be ended."""
        while self._reserve:
            os.close(self._reserve.pop())

    def restore_reserve(self) -> None:
        """Keep them again, as far as there are any."""
        try:
            while len(self._reserve) < _RESERVED:
                self._reserve.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return

    def close(self) -> None:
        """Close the files this object holds."""
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
        """The attempts that a process may be of, by their age and its own."""
        return [each for each in self._lineages if not each.is_swept and each.not_before <= status.started]


def _entry(name: str, value: str) -> bytes:
    return b"\0" + os.fsencode(f"{name}={value}") + b"\0"


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
