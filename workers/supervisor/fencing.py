"""Kills exclusive jobs before their lease expires if their worker is alive but hangs and does not kill them itself.

Once the lease has expired, another worker may start the next attempt of such a job, and two attempts must not overlap.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.journal_format import JournalLease, JournalSlot, SlotState, Snapshot
from oneshot_queue.workers.ipc.lease_margin import margin_s
from oneshot_queue.workers.processes.procfs import status_of
from oneshot_queue.workers.supervisor.survivors import end_survivors

LONGEST_START_S: Final = 0.1
"""How long the start of a job may take if it began before the deadline; it usually takes a millisecond."""

RESISTANCE_S: Final = 0.5
"""How long one call keeps trying to kill processes that resist; the supervisor has other work."""


def is_overdue(lease: JournalLease, now_s: float) -> bool:
    """Whether exclusive jobs under this lease must have ended by now; ``False`` for a lease that was never renewed."""
    return lease.renewed_s > 0 and now_s - lease.renewed_s >= lease.lease_s - margin_s(lease.lease_s)


def fence_overdue(journal: Journal, now_s: float) -> list[JournalSlot]:
    """Kill all processes of exclusive jobs whose lease is about to expire, and mark their slots; returns those jobs.

    Args:
        now_s: By ``CLOCK_BOOTTIME``, as in the journal: that clock, like the lease, continues while the machine sleeps.

    Raises:
        OSError: Some processes could not be inspected or killed. No slot is marked, so that the next call tries again.
    """
    fenced: list[JournalSlot] = []
    if not journal.has_exclusive_jobs:
        return fenced
    snapshot = journal.snapshot()
    for slot in snapshot.slots:
        if not slot.is_exclusive or slot.is_fenced or not _must_end(snapshot, slot, now_s):
            continue
        # Mark first: if the worker wakes up, it must know why its job died.
        if slot.state is SlotState.RUNNING:
            journal.fence(slot)
            fenced.append(slot)
    try:
        # First the processes outside the group: they are found through their parents, which are in the group.
        end_survivors(fenced, grace_s=0.0, give_up_s=RESISTANCE_S)
        for slot in fenced:
            _kill_group(slot)
    except OSError:
        for slot in fenced:
            journal.unfence(slot)
        raise
    return fenced


class OverdueStarts:
    """Finds a worker that hangs while it starts an exclusive job.

    The process does not exist yet, or the journal does not name it yet, so the supervisor can only kill the
    worker.
    """

    def __init__(self) -> None:
        self._first_seen_s: dict[int, float] = {}

    def check(self, journal: Journal, now_s: float) -> JournalSlot | None:
        """Check once; returns the job whose start takes too long while its lease is about to expire.

        A worker that does not hang needs no action: it starts no job under a lease that is about to expire.

        Args:
            now_s: By ``CLOCK_BOOTTIME``.
        """
        before, self._first_seen_s = self._first_seen_s, {}
        if not journal.has_exclusive_jobs:
            return None
        snapshot = journal.snapshot()
        for slot in snapshot.slots:
            if slot.is_exclusive and slot.state is SlotState.SPAWNING and _must_end(snapshot, slot, now_s):
                since_s = self._first_seen_s[slot.sequence] = before.get(slot.sequence, now_s)
                if now_s - since_s >= LONGEST_START_S:
                    return slot
        return None


def _must_end(snapshot: Snapshot, slot: JournalSlot, now_s: float) -> bool:
    lease = snapshot.lease_of(slot)
    if lease is not None:
        return is_overdue(lease, now_s)
    # Its lease was lost and replaced by another one for this queue; another worker may hold the job by now.
    return any(each.queue == slot.queue for each in snapshot.leases)


def _kill_group(slot: JournalSlot) -> None:
    assert slot.pid is not None
    try:
        pidfd = pidfd_open(slot.pid)
    except ProcessLookupError:
        return
    try:
        status = status_of(slot.pid)
        if status is not None and slot.matches(slot.pid, status.started):
            os.killpg(slot.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        os.close(pidfd)
