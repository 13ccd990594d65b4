"""What notes say, read with suspicion: the file may be torn by a crash of the machine, or written by somebody else."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.errors import MalformedData

VERSION: Final = 2
MAX_SLOTS: Final = 65_536
MAX_LEASES: Final = 4_096
MAX_CGROUP_BYTES: Final = 256

MAGIC: Final = b"OSQNOTES"
HEADER: Final = struct.Struct("=8sIII36s32s64s64s256s")
COUNTS: Final = struct.Struct("=QIQI")
COUNTS_AT: Final = 480
HEADER_BYTES: Final = 512
LEASE: Final = struct.Struct("=64s64sdd")
SLOT: Final = struct.Struct("=BBxxIIIIiQQ64s64s64s64s64s")
UNKNOWN_EXIT: Final = -(2**31)
WORKER_ID: Final = re.compile(r"[0-9a-f]{32}")
_TOKEN: Final = re.compile(r"[!-~]{1,64}")


class SlotState(IntEnum):
    """How far the start of a job has come."""

    FREE = 0
    SPAWNING = 1
    """It may have been started."""
    RUNNING = 2
    """It has been started, and its process id is known."""
    EXITED = 3
    """Its first process has ended, and its worker has seen how."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One job that may have been started.

    Attributes:
        index: Its place in the table.
        sequence: Tells it from whatever stood there before.
        pid: Its first process, once that is known.
        started: The first and the last clock tick since boot at which that process can have begun.
        token: What its processes bear in their environment.
        held_as: The token it is held under: a later one if a server that forgot the job handed it over once more.
        exit_code: How that process ended, negative for a signal; ``None`` while it is not known.
    """

    index: int
    state: SlotState
    sequence: int
    queue: str
    job_id: str
    attempt: int
    token: str
    held_as: str
    lease_id: str
    is_exclusive: bool
    is_fenced: bool
    pid: int | None
    started: tuple[int, int]
    exit_code: int | None

    def is_of(self, pid: int, started: int) -> bool:
        """Whether the process of this number, begun at this tick, is the one that was noted."""
        return self.pid == pid and self.started[0] <= started <= self.started[1]


@dataclass(frozen=True, slots=True)
class JournalLease:
    """A lease that the worker had.

    Attributes:
        lease_s: Its length.
        renewed_s: When its last renewal that was acknowledged was sent, by ``CLOCK_BOOTTIME``; 0 for never.
    """

    queue: str
    lease_id: str
    lease_s: float
    renewed_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All notes at one instant.

    Attributes:
        broker: Tells which broker the worker served, without its address.
        cgroup: The worker's own control group; empty if it had none.
        jobs_taken: How many jobs it had taken on.
        damaged: Entries that made no sense.
    """

    worker_id: str
    namespace: str
    broker: str
    boot_id: str
    cgroup: str
    jobs_taken: int
    pid: int
    started: int
    leases: tuple[JournalLease, ...]
    slots: tuple[Slot, ...]
    damaged: int

    def lease_of(self, slot: Slot) -> JournalLease | None:
        """The lease under which a job runs, if it is still in the table."""
        return next((each for each in self.leases if each.lease_id == slot.lease_id), None)


def read_journal(raw: bytes) -> Snapshot:
    """Read notes; entries that make no sense are left out and counted.

    Raises:
        MalformedData: The whole makes no sense.
    """
    slot_count, lease_count = counted(raw, len(raw))
    boot, worker_id, namespace, broker, cgroup = map(_text, HEADER.unpack_from(raw)[4:])
    if not WORKER_ID.fullmatch(worker_id) or not NAME_PATTERN.fullmatch(namespace):
        raise MalformedData("notes", "name no worker")
    jobs_taken, pid, started, _ = COUNTS.unpack_from(raw, COUNTS_AT)
    damaged = 0
    leases: list[JournalLease] = []
    for at in range(HEADER_BYTES, HEADER_BYTES + lease_count * LEASE.size, LEASE.size):
        if raw[at]:
            lease = _lease(LEASE.unpack_from(raw, at))
            damaged += lease is None
            leases += [] if lease is None else [lease]
    slots: list[Slot] = []
    first = HEADER_BYTES + lease_count * LEASE.size
    for index in range(slot_count):
        if raw[first + index * SLOT.size]:
            slot = _slot(index, SLOT.unpack_from(raw, first + index * SLOT.size))
            damaged += slot is None
            slots += [] if slot is None else [slot]
    return Snapshot(
        worker_id=worker_id,
        namespace=namespace,
        broker=broker,
        boot_id=boot,
        cgroup=cgroup,
        jobs_taken=jobs_taken,
        pid=pid,
        started=started,
        leases=tuple(leases),
        slots=tuple(slots),
        damaged=damaged,
    )


def boot_id() -> str:
    """Names the time since this machine was started; process ids and ticks mean nothing beyond it."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def max_bytes() -> int:
    """The largest file that can hold notes."""
    return size_of(MAX_SLOTS, MAX_LEASES)


def size_of(slots: int, leases: int) -> int:
    """The bytes of a file with so many entries."""
    return HEADER_BYTES + leases * LEASE.size + slots * SLOT.size


def counted(raw: bytes, size: int) -> tuple[int, int]:
    """How many slots and leases there are, by the header.

    Raises:
        MalformedData: It does not fit a file of this size.
    """
    if len(raw) < HEADER_BYTES:
        raise MalformedData("notes", f"have {len(raw)} bytes")
    magic, version, slots, leases = HEADER.unpack_from(raw)[:4]
    if magic != MAGIC or version != VERSION:
        raise MalformedData("notes", "are of another kind or version")
    if slots > MAX_SLOTS or leases > MAX_LEASES or size != size_of(slots, leases):
        raise MalformedData("notes", f"have {size} bytes for {slots} slots and {leases} leases")
    return slots, leases


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("ascii", "backslashreplace")


def _lease(fields: tuple[bytes, bytes, float, float]) -> JournalLease | None:
    lease = JournalLease(_text(fields[0]), _text(fields[1]), fields[2], fields[3])
    named = NAME_PATTERN.fullmatch(lease.queue) and NAME_PATTERN.fullmatch(lease.lease_id)
    return lease if named and 0 < lease.lease_s < 1e9 and 0 <= lease.renewed_s < 1e12 else None


def _slot(index: int, fields: tuple[int | bytes, ...]) -> Slot | None:
    state, exclusive, sequence, fenced, attempt, pid, exit_code, first, last = (int(each) for each in fields[:9])
    queue, job_id, token, held_as, lease_id = (_text(each) for each in fields[9:] if isinstance(each, bytes))
    if state > SlotState.EXITED or not all(map(NAME_PATTERN.fullmatch, (queue, job_id, lease_id))):
        return None
    if not all(map(_TOKEN.fullmatch, (token, held_as))):
        return None
    if attempt < 1 or pid >= 2**31 or (state > SlotState.SPAWNING) != (pid > 0):
        return None
    return Slot(
        index=index,
        state=SlotState(state),
        sequence=sequence,
        queue=queue,
        job_id=job_id,
        attempt=attempt,
        token=token,
        held_as=held_as,
        lease_id=lease_id,
        is_exclusive=bool(exclusive),
        is_fenced=fenced == sequence,
        pid=pid or None,
        started=(first, last),
        exit_code=exit_code if state >= SlotState.EXITED and exit_code != UNKNOWN_EXIT else None,
    )
