"""Ends exclusive jobs before their lease does, should their worker fail to: it may be stuck, and alive.

Elsewhere such a job is started anew once its lease has run out, and two attempts must not overlap.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.journal_format import JournalLease, Slot, SlotState, Snapshot
from oneshot_queue.workers.ipc.lease_margin import margin_s
from oneshot_queue.workers.processes.procfs import status_of
from oneshot_queue.workers.supervisor.survivors import end_survivors

LONGEST_START_S: Final = 0.1
"""How long a start may take that has begun in time; usually it is a millisecond."""

RESISTANCE_S: Final = 0.5
"""How long the supervisor looks after what resists; it has other work."""


def is_overdue(lease: JournalLease, now_s: float) -> bool:
    """Whether jobs under this lease have to end now; a lease that was never renewed says nothing yet."""
    return lease.renewed_s > 0 and now_s - lease.renewed_s >= lease.lease_s - margin_s(lease.lease_s)


def fence_overdue(notes: Journal, now_s: float) -> list[Slot]:
    """Kill all processes of exclusive jobs whose lease is about to run out, and note it; returns those jobs.

    Args:
        now_s: By ``CLOCK_BOOTTIME``, as in the notes: it goes on while the machine sleeps, as the lease does.

    Raises:
        OSError: Not all could be looked at, or killed; it is not noted, so that the next call tries again.
    """
    fenced: list[Slot] = []
    if not notes.has_exclusive_jobs:
        return fenced
    snapshot = notes.snapshot()
    for slot in snapshot.slots:
        if not slot.is_exclusive or slot.is_fenced or not _must_end(snapshot, slot, now_s):
            continue
        # Noted first: the worker, if it wakes, must know why its job died.
        if slot.state is SlotState.RUNNING:
            notes.fence(slot)
            fenced.append(slot)
    try:
        # First what has left the group, as long as the way to it leads through the group.
        end_survivors(fenced, grace_s=0.0, give_up_s=RESISTANCE_S)
        for slot in fenced:
            _kill_group(slot)
    except OSError:
        for slot in fenced:
            notes.unfence(slot)
        raise
    return fenced


class OverdueStarts:
    """Finds a worker that stands still in the middle of starting an exclusive job.

    Nobody else knows that process yet, or it begins when the worker goes on: only the worker's own end ends it in time.
    """

    def __init__(self) -> None:
        self._seen_s: dict[int, float] = {}

    def look(self, notes: Journal, now_s: float) -> Slot | None:
        """Look once; returns the job whose start takes too long, under a lease that is about to run out.

        A start that is only late ends by itself: under such a lease no worker begins another.

        Args:
            now_s: By ``CLOCK_BOOTTIME``.
        """
        before, self._seen_s = self._seen_s, {}
        if not notes.has_exclusive_jobs:
            return None
        snapshot = notes.snapshot()
        for slot in snapshot.slots:
            if slot.is_exclusive and slot.state is SlotState.SPAWNING and _must_end(snapshot, slot, now_s):
                since_s = self._seen_s[slot.sequence] = before.get(slot.sequence, now_s)
                if now_s - since_s >= LONGEST_START_S:
                    return slot
        return None


def _must_end(snapshot: Snapshot, slot: Slot, now_s: float) -> bool:
    lease = snapshot.lease_of(slot)
    if lease is not None:
        return is_overdue(lease, now_s)
    # Another lease has taken the place of its own: that is lost, and somebody else may have the job by now.
    return any(each.queue == slot.queue for each in snapshot.leases)


def _kill_group(slot: Slot) -> None:
    assert slot.pid is not None
    try:
        pidfd = pidfd_open(slot.pid)
    except ProcessLookupError:
        return
    try:
        status = status_of(slot.pid)
        if status is not None and slot.is_of(slot.pid, status.started):
            os.killpg(slot.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        os.close(pidfd)
