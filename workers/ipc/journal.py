"""The journal: shared memory that tells the supervisor what a worker process was doing when it died.

A header, a small table of leases, and one slot per job that may have been started and whose result is not recorded yet.
The worker writes each field before the byte that makes the entry count. The supervisor reads, and marks fenced slots.
"""

from __future__ import annotations

import mmap
import os
from typing import Final, Self

from oneshot_queue.workers.ipc.journal_format import (
    HEADER_BYTES,
    LEASE_BYTES,
    MAGIC,
    MAX_LEASES,
    MAX_SLOTS,
    SLOT_BYTES,
    UNKNOWN_EXIT,
    VERSION,
    Header,
    JournalSlot,
    LeaseEntry,
    SlotEntry,
    SlotState,
    Snapshot,
    boot_id,
    packer,
    read_counts,
    read_journal,
    size_of,
)

_HEADER: Final = packer(Header, "magic", "cgroup")
_PROCESS: Final = packer(Header, "pid", "started")
_PROCESS_AT: Final = Header.pid.offset
_JOBS_TAKEN: Final = packer(Header, "jobs_taken")
_JOBS_TAKEN_AT: Final = Header.jobs_taken.offset
_EXCLUSIVE_JOBS: Final = packer(Header, "exclusive_jobs")
_EXCLUSIVE_JOBS_AT: Final = Header.exclusive_jobs.offset

_LEASE: Final = packer(LeaseEntry, "queue", "renewed_s")
_RENEWED: Final = packer(LeaseEntry, "renewed_s")
_RENEWED_AT: Final = LeaseEntry.renewed_s.offset

_SLOT: Final = packer(SlotEntry, "state", "lease_id")
_IS_EXCLUSIVE_AT: Final = SlotEntry.is_exclusive.offset
_SEQUENCE: Final = packer(SlotEntry, "sequence")
_SEQUENCE_AT: Final = SlotEntry.sequence.offset
_FENCED: Final = packer(SlotEntry, "fenced")
_FENCED_AT: Final = SlotEntry.fenced.offset
_STARTED: Final = packer(SlotEntry, "pid", "last_tick")
_STARTED_AT: Final = SlotEntry.pid.offset
_EXIT: Final = packer(SlotEntry, "exit_code")
_EXIT_AT: Final = SlotEntry.exit_code.offset
_HELD: Final = packer(SlotEntry, "held_as", "lease_id")
_HELD_AT: Final = SlotEntry.held_as.offset


class Journal:
    """The journal of one worker process, in memory shared with its supervisor.

    Args:
        memory: The mapped file.
        slots: Number of slots in it.
        leases: Number of leases in it.
    """

    def __init__(self, memory: mmap.mmap, slots: int, leases: int) -> None:
        self._memory = memory
        self._lease_count = leases
        self._first_slot = HEADER_BYTES + leases * LEASE_BYTES
        self._free = list(range(slots - 1, -1, -1))
        self._sequence = 0
        self._jobs_taken = 0
        self._exclusive = 0

    @classmethod
    def lay_out(
        cls, file: int, *, worker_id: str, namespace: str, broker: str, cgroup: str, slots: int, leases: int
    ) -> Self:
        """Turn an empty file into the journal of a worker that is about to be started.

        Raises:
            OSError: The file system has no room.
        """
        slots, leases = min(slots, MAX_SLOTS), min(leases, MAX_LEASES)
        # Allocate now: the first write into a hole of a file on a full file system raises SIGBUS.
        os.posix_fallocate(file, 0, size_of(slots, leases))
        journal = cls(mmap.mmap(file, size_of(slots, leases)), slots, leases)
        texts = (boot_id(), worker_id, namespace, broker, cgroup)
        _HEADER.pack_into(journal._memory, 0, MAGIC, VERSION, slots, leases, *map(os.fsencode, texts))
        return journal

    @classmethod
    def open(cls, file: int) -> Self:
        """Open a journal that a supervisor has laid out.

        Raises:
            MalformedData: The file is not a valid journal.
        """
        slots, leases = read_counts(os.pread(file, HEADER_BYTES, 0), os.fstat(file).st_size)
        return cls(mmap.mmap(file, size_of(slots, leases)), slots, leases)

    @property
    def free_slots(self) -> int:
        """Number of jobs that can be reserved before another one is freed."""
        return len(self._free)

    def snapshot(self) -> Snapshot:
        """Read the current content."""
        return read_journal(self._memory[:])

    # -------------------------------------------------------------------------------------- written by the worker

    def set_process(self, pid: int, started: int) -> None:
        """Record the worker's process id and the clock tick at which that process started."""
        _PROCESS.pack_into(self._memory, _PROCESS_AT, pid, started)

    def count_job(self) -> None:
        """Count one more job as accepted."""
        self._jobs_taken += 1
        _JOBS_TAKEN.pack_into(self._memory, _JOBS_TAKEN_AT, self._jobs_taken)

    def set_lease(self, index: int, queue: str, lease_id: str, lease_s: float) -> None:
        """Record a new lease, not renewed yet, for the worker's queue with this index."""
        if index < self._lease_count:
            texts = queue.encode(), lease_id.encode()
            _LEASE.pack_into(self._memory, HEADER_BYTES + index * LEASE_BYTES, *texts, lease_s, 0.0)

    def clear_lease(self, index: int) -> None:
        """Remove the lease of the worker's queue with this index: nothing under it needs recovery."""
        if index < self._lease_count:
            self._memory[HEADER_BYTES + index * LEASE_BYTES] = 0

    def renewed(self, index: int, at_s: float) -> None:
        """Record when the renewal that was just acknowledged had been sent, by ``CLOCK_BOOTTIME``."""
        if index < self._lease_count:
            _RENEWED.pack_into(self._memory, HEADER_BYTES + index * LEASE_BYTES + _RENEWED_AT, at_s)

    def reserve(
        self,
        *,
        queue: str,
        job_id: str,
        attempt: int,
        token: str,
        lease_id: str,
        exclusive: bool = False,
        first_tick: int = 0,
    ) -> int:
        """Record that a job may be started from now on; returns its slot.

        Args:
            first_tick: A clock tick since boot before which none of its processes can have started.

        Raises:
            IndexError: No slot is free.
        """
        index = self._free.pop()
        at = self._first_slot + index * SLOT_BYTES
        self._sequence = self._sequence % 0xFFFF_FFFF + 1
        texts = (queue.encode(), job_id.encode(), token.encode(), token.encode(), lease_id.encode())
        numbers = (self._sequence, 0, attempt, 0, UNKNOWN_EXIT, first_tick, first_tick)
        _SLOT.pack_into(self._memory, at, SlotState.FREE, exclusive, *numbers, *texts)
        if exclusive:
            self._count_exclusive(+1)
        self._memory[at] = SlotState.SPAWNING
        return index

    def started(self, index: int, pid: int, first_tick: int, last_tick: int) -> None:
        """Record a job's first process, and the clock ticks between which it started."""
        at = self._first_slot + index * SLOT_BYTES
        _STARTED.pack_into(self._memory, at + _STARTED_AT, pid, UNKNOWN_EXIT, first_tick, last_tick)
        self._memory[at] = SlotState.RUNNING

    def handed_over(self, index: int, token: str, lease_id: str) -> None:
        """Record that a job is now held under another token; its processes keep the first one in their environment."""
        at = self._first_slot + index * SLOT_BYTES
        _HELD.pack_into(self._memory, at + _HELD_AT, token.encode(), lease_id.encode())

    def exited(self, index: int, exit_code: int | None) -> None:
        """Record how a job's first process ended: its exit code, negative for a signal, ``None`` if unknown."""
        at = self._first_slot + index * SLOT_BYTES
        _EXIT.pack_into(self._memory, at + _EXIT_AT, UNKNOWN_EXIT if exit_code is None else exit_code)
        self._memory[at] = SlotState.EXITED

    def free(self, index: int) -> None:
        """Free the slot of a job: its result is recorded, or it never started."""
        at = self._first_slot + index * SLOT_BYTES
        if self._memory[at + _IS_EXCLUSIVE_AT]:
            self._count_exclusive(-1)
        self._memory[at] = SlotState.FREE
        self._free.append(index)

    def was_fenced(self, index: int) -> bool:
        """Whether the supervisor has killed this job because its lease was about to expire."""
        at = self._first_slot + index * SLOT_BYTES
        sequence = _SEQUENCE.unpack_from(self._memory, at + _SEQUENCE_AT)
        return bool(sequence == _FENCED.unpack_from(self._memory, at + _FENCED_AT))

    def _count_exclusive(self, change: int) -> None:
        self._exclusive += change
        _EXCLUSIVE_JOBS.pack_into(self._memory, _EXCLUSIVE_JOBS_AT, self._exclusive)

    # ---------------------------------------------------------------------------------- written by the supervisor

    @property
    def has_exclusive_jobs(self) -> bool:
        """Whether any recorded job must end before its lease expires; cheap."""
        return bool(_EXCLUSIVE_JOBS.unpack_from(self._memory, _EXCLUSIVE_JOBS_AT)[0])

    def fence(self, slot: JournalSlot) -> None:
        """Record that this use of the slot was killed because its lease was about to expire."""
        at = self._first_slot + slot.index * SLOT_BYTES
        _FENCED.pack_into(self._memory, at + _FENCED_AT, slot.sequence)

    def unfence(self, slot: JournalSlot) -> None:
        """Undo ``fence``: the job was not killed after all."""
        at = self._first_slot + slot.index * SLOT_BYTES
        _FENCED.pack_into(self._memory, at + _FENCED_AT, 0)
