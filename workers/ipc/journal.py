"""What a worker process leaves in shared memory, so that its supervisor knows what it was doing when it died.

A header, a small table of leases, and a slot for every job that may have been started and whose end is not on record.
The worker writes, each field before the byte that makes it count; the supervisor reads, and adds which slots it fenced.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final, Self

from oneshot_queue.workers.ipc.journal_format import (
    COUNTS,
    COUNTS_AT,
    HEADER,
    HEADER_BYTES,
    LEASE,
    MAGIC,
    MAX_LEASES,
    MAX_SLOTS,
    SLOT,
    UNKNOWN_EXIT,
    VERSION,
    Slot,
    SlotState,
    Snapshot,
    boot_id,
    counted,
    read_journal,
    size_of,
)

_EXITED: Final = struct.Struct("=i")
_NUMBER: Final = struct.Struct("=I")
_INSTANT: Final = struct.Struct("=d")
_STARTED: Final = struct.Struct("=IiQQ")
_FENCED_AT: Final = 8
_PID_AT: Final = 16
_EXIT_AT: Final = 20
_HELD: Final = struct.Struct("=64s64s")
_HELD_AT: Final = SLOT.size - _HELD.size
_RENEWED_AT: Final = 136
_EXCLUSIVE_AT: Final = COUNTS_AT + 20


class Journal:
    """The notes of one worker process, in memory that its supervisor shares."""

    def __init__(self, memory: mmap.mmap, slots: int, leases: int) -> None:
        self._memory = memory
        self._lease_count = leases
        self._first_slot = HEADER_BYTES + leases * LEASE.size
        self._free = list(range(slots - 1, -1, -1))
        self._slot_count = slots
        self._sequence = 0
        self._jobs_taken = 0
        self._exclusive = 0

    @classmethod
    def lay_out(
        cls, file: int, *, worker_id: str, namespace: str, broker: str, cgroup: str, slots: int, leases: int
    ) -> Self:
        """Turn an empty file into the notes of a worker that is about to be started.

        Raises:
            OSError: There is no room.
        """
        slots, leases = min(slots, MAX_SLOTS), min(leases, MAX_LEASES)
        # A hole in a file would be filled by the first write, and a file system without room answers that with SIGBUS.
        os.posix_fallocate(file, 0, size_of(slots, leases))
        notes = cls(mmap.mmap(file, size_of(slots, leases)), slots, leases)
        texts = (boot_id(), worker_id, namespace, broker, cgroup)
        HEADER.pack_into(notes._memory, 0, MAGIC, VERSION, slots, leases, *map(os.fsencode, texts))
        return notes

    @classmethod
    def open(cls, file: int) -> Self:
        """The notes that a supervisor has laid out.

        Raises:
            MalformedData: They are none.
        """
        slots, leases = counted(os.pread(file, HEADER_BYTES, 0), os.fstat(file).st_size)
        return cls(mmap.mmap(file, size_of(slots, leases)), slots, leases)

    @property
    def free_slots(self) -> int:
        """Jobs that can be noted before one's end is on record."""
        return len(self._free)

    def snapshot(self) -> Snapshot:
        """What stands there now."""
        return read_journal(self._memory[:])

    # ------------------------------------------------------------------------------------------- what a worker writes

    def set_process(self, pid: int, started: int) -> None:
        """Which process the worker is."""
        COUNTS.pack_into(self._memory, COUNTS_AT, self._jobs_taken, pid, started, self._exclusive)

    def count_job(self) -> None:
        """One more job was taken on."""
        self._jobs_taken += 1
        struct.pack_into("=Q", self._memory, COUNTS_AT, self._jobs_taken)

    def set_lease(self, index: int, queue: str, lease_id: str, lease_s: float) -> None:
        """Note a new lease of the worker's queue of this number; it counts as never renewed."""
        if index < self._lease_count:
            texts = queue.encode(), lease_id.encode()
            LEASE.pack_into(self._memory, HEADER_BYTES + index * LEASE.size, *texts, lease_s, 0.0)

    def clear_lease(self, index: int) -> None:
        """Forget the lease of the worker's queue of this number: there is nothing to decide about it."""
        if index < self._lease_count:
            self._memory[HEADER_BYTES + index * LEASE.size] = 0

    def renewed(self, index: int, at_s: float) -> None:
        """Note when the renewal was sent that has just been acknowledged, by ``CLOCK_BOOTTIME``."""
        if index < self._lease_count:
            _INSTANT.pack_into(self._memory, HEADER_BYTES + index * LEASE.size + _RENEWED_AT, at_s)

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
        """Note that a job may have been started from now on; returns its slot.

        Args:
            first_tick: A clock tick since boot at which nothing of it existed yet.

        Raises:
            IndexError: All slots are taken.
        """
        index = self._free.pop()
        at = self._first_slot + index * SLOT.size
        self._sequence = self._sequence % 0xFFFF_FFFF + 1
        texts = (queue.encode(), job_id.encode(), token.encode(), token.encode(), lease_id.encode())
        numbers = (self._sequence, 0, attempt, 0, UNKNOWN_EXIT, first_tick, first_tick)
        SLOT.pack_into(self._memory, at, SlotState.FREE, exclusive, *numbers, *texts)
        if exclusive:
            self._count_exclusive(+1)
        self._memory[at] = SlotState.SPAWNING
        return index

    def started(self, index: int, pid: int, first_tick: int, last_tick: int) -> None:
        """Note the first process of a job, and between which ticks it began."""
        at = self._first_slot + index * SLOT.size
        _STARTED.pack_into(self._memory, at + _PID_AT, pid, UNKNOWN_EXIT, first_tick, last_tick)
        self._memory[at] = SlotState.RUNNING

    def handed_over(self, index: int, token: str, lease_id: str) -> None:
        """Note that a job is held under another token from now on; its processes go on bearing the first."""
        at = self._first_slot + index * SLOT.size
        _HELD.pack_into(self._memory, at + _HELD_AT, token.encode(), lease_id.encode())

    def exited(self, index: int, exit_code: int | None) -> None:
        """Note how a job's first process ended: its code, the negative of its signal, or ``None`` if nobody knows."""
        at = self._first_slot + index * SLOT.size
        _EXITED.pack_into(self._memory, at + _EXIT_AT, UNKNOWN_EXIT if exit_code is None else exit_code)
        self._memory[at] = SlotState.EXITED

    def free(self, index: int) -> None:
        """Forget a job: its end is on record, or it never began."""
        at = self._first_slot + index * SLOT.size
        if self._memory[at + 1]:
            self._count_exclusive(-1)
        self._memory[at] = SlotState.FREE
        self._free.append(index)

    def was_fenced(self, index: int) -> bool:
        """Whether the supervisor has ended this job because its lease was about to run out."""
        at = self._first_slot + index * SLOT.size
        return bool(_NUMBER.unpack_from(self._memory, at + 4) == _NUMBER.unpack_from(self._memory, at + _FENCED_AT))

    def _count_exclusive(self, change: int) -> None:
        self._exclusive += change
        _NUMBER.pack_into(self._memory, _EXCLUSIVE_AT, self._exclusive)

    # --------------------------------------------------------------------------------------- what a supervisor writes

    @property
    def has_exclusive_jobs(self) -> bool:
        """Whether a job is noted that must end before its lease does; cheap."""
        return bool(_NUMBER.unpack_from(self._memory, _EXCLUSIVE_AT)[0])

    def fence(self, slot: Slot) -> None:
        """Note that this very job was ended because its lease was about to run out."""
        at = self._first_slot + slot.index * SLOT.size
        _NUMBER.pack_into(self._memory, at + _FENCED_AT, slot.sequence)

    def unfence(self, slot: Slot) -> None:
        """Note that it was not ended after all."""
        at = self._first_slot + slot.index * SLOT.size
        _NUMBER.pack_into(self._memory, at + _FENCED_AT, 0)
