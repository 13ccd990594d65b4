"""The processes of jobs whose worker does not end them, found by the tokens of those jobs, and ended.

A process counts as one of a job's only if its environment holds the job's unguessable token and it began no earlier
than the job; what hangs below such a process goes with it. A number alone proves nothing: it may be used again.
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
from oneshot_queue.workers.ipc.journal_format import Slot, SlotState
from oneshot_queue.workers.processes.environment import TOKEN_VARIABLE
from oneshot_queue.workers.processes.procfs import ProcessStatus, children_of, environment_of, send_signal, status_of

GRACE_S: Final = 0.5
GIVE_UP_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.05

Process = tuple[int, int]


def end_survivors(
    slots: Iterable[Slot], members: Iterable[int] = (), *, grace_s: float = GRACE_S, give_up_s: float = GIVE_UP_S
) -> list[int]:
    """End every process of these jobs: TERM, the grace, KILL, until none is left or it is time to give up.

    Args:
        members: Processes that are known to be theirs, whatever their environment.
        give_up_s: Seconds after which what still lives is let be; this blocks until then.

    Returns:
        The process ids of what still lives.

    Raises:
        OSError: They could not be looked at, or signalled: no descriptor to spare.
    """
    # A job without a known process may have been started by then; its token alone tells.
    tokens = {_entry(slot.token): slot.started[0] for slot in slots if slot.state is not SlotState.FREE}
    statuses = [status for pid in members if (status := status_of(pid)) is not None]
    known: dict[Process, ProcessStatus] = {(status.pid, status.started): status for status in statuses}
    if not (tokens or known):
        return []
    began = time.monotonic()
    asked: set[Process] = set()
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
                # A stopped process sees TERM only when it goes on.
                send_signal(status, signal.SIGCONT)
        # The rest is looked at then, too.
        _wait_for_end(living[0])


def _living(tokens: dict[bytes, int], known: dict[Process, ProcessStatus]) -> list[ProcessStatus]:
    """All that live of the jobs; ``known`` remembers them, because a child loses the way to a parent that dies."""
    found = [status for name in os.listdir("/proc") if name.isdigit() and (status := _bearer(int(name), tokens))]
    found += [status for each in known.values() if (status := _still(each))]
    seen: set[Process] = set()
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
    return [each for each in known.values() if (status := _still(each)) is not None and not status.is_zombie]


def _bearer(pid: int, tokens: dict[bytes, int]) -> ProcessStatus | None:
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


def _still(known: ProcessStatus) -> ProcessStatus | None:
    status = status_of(known.pid)
    return status if status is not None and status.started == known.started else None


def _wait_for_end(target: ProcessStatus) -> None:
    try:
        pidfd = pidfd_open(target.pid)
    except ProcessLookupError:
        return
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    waiting.poll(_LOOK_AGAIN_S * 1000)
    os.close(pidfd)


def _entry(token: str) -> bytes:
    return b"\0" + os.fsencode(f"{TOKEN_VARIABLE}={token}") + b"\0"
