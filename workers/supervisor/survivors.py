"""Finds processes by the tokens of their jobs, and ends them, if their worker no longer can.

A process belongs to a job only if its environment holds the job's unguessable token and it started no earlier than the
job; its descendants belong to the job too. A process id alone proves nothing, because it may have been reused.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from typing import Final

from oneshot_queue.local_broker import is_local_broker
from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.workers.ipc.journal_format import JournalSlot
from oneshot_queue.workers.processes.environment import TOKEN_VARIABLE
from oneshot_queue.workers.processes.procfs import (
    ProcessStatus,
    children_of,
    environment_entry,
    environment_of,
    send_signal,
    status_of,
)

GRACE_S: Final = 0.5
GIVE_UP_S: Final = 5.0
_RESCAN_S: Final = 0.05

ProcessKey = tuple[int, int]
"""Process id and start tick: together they are unique within one boot."""


def end_survivors(
    slots: Iterable[JournalSlot], members: Iterable[int] = (), *, grace_s: float = GRACE_S, give_up_s: float = GIVE_UP_S
) -> list[int]:
    """End all processes of these jobs: TERM, after the grace period KILL, until none is left or time is up.

    This blocks, at most for ``give_up_s`` seconds.

    Args:
        members: Ids of processes known to belong to these jobs, whatever their environment.

    Returns:
        Ids of the processes that are still alive.

    Raises:
        OSError: Processes could not be inspected or signalled: no file descriptor is free.
    """
    # A job whose process id is not recorded may have been started too; only the token finds its processes.
    tokens = {environment_entry(TOKEN_VARIABLE, slot.token): slot.started[0] for slot in slots}
    statuses = [status for pid in members if (status := status_of(pid)) is not None]
    known: dict[ProcessKey, ProcessStatus] = {(status.pid, status.started): status for status in statuses}
    if not (tokens or known):
        return []
    began = time.monotonic()
    asked: set[ProcessKey] = set()
    while True:
        living = _living(tokens, known)
        if not living or time.monotonic() - began > give_up_s:
            return [status.pid for status in living]
        is_killing = time.monotonic() - began >= grace_s
        for status in living:
            key = (status.pid, status.started)
            if is_killing:
                send_signal(status, signal.SIGKILL)
            elif key not in asked:
                asked.add(key)
                send_signal(status, signal.SIGTERM)
                # A stopped process handles TERM only once it is continued.
                send_signal(status, signal.SIGCONT)
        # The next pass checks the others.
        _wait_for_end(living[0])


def _living(tokens: dict[bytes, int], known: dict[ProcessKey, ProcessStatus]) -> list[ProcessStatus]:
    """Return the live processes of the jobs, and add them to ``known``: an orphan may not be found again."""
    found = [status for name in os.listdir("/proc") if name.isdigit() and (status := _with_token(int(name), tokens))]
    found += [status for each in known.values() if (status := _refreshed(each))]
    seen: set[ProcessKey] = set()
    while found:
        status = found.pop()
        key = (status.pid, status.started)
        if key in seen or status.pid == os.getpid():
            continue
        seen.add(key)
        if is_local_broker(status.pid):
            continue
        known[key] = status
        found += [child for pid in children_of(status.pid) if (child := status_of(pid)) is not None]
    return [each for each in known.values() if (status := _refreshed(each)) is not None and not status.is_zombie]


def _with_token(pid: int, tokens: dict[bytes, int]) -> ProcessStatus | None:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return None
    except OSError:
        return None
    environment = environment_of(pid)
    for token, not_before in tokens.items():
        if token in environment:
            status = status_of(pid)
            return status if status is not None and status.started >= not_before else None
    return None


def _refreshed(known: ProcessStatus) -> ProcessStatus | None:
    status = status_of(known.pid)
    return status if status is not None and status.started == known.started else None


def _wait_for_end(target: ProcessStatus) -> None:
    try:
        pidfd = pidfd_open(target.pid)
    except ProcessLookupError:
        return
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    waiting.poll(_RESCAN_S * 1000)
    os.close(pidfd)
