"""The layout of a journal file, and how a journal is read.

The layout is defined once, by the three ``ctypes`` structures below; ``journal.py`` writes by the same definitions.
Files of this version are recovered after an upgrade, so the layout must not change without a new ``VERSION``.
A reader trusts nothing: a crash of the machine may have torn the file, or another program may have written it.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.errors import MalformedData

VERSION: Final = 2
MAX_SLOTS: Final = 65_536
MAX_LEASES: Final = 4_096
MAX_CGROUP_BYTES: Final = 256

MAGIC: Final = b"OSQNOTES"
UNKNOWN_EXIT: Final = -(2**31)
WORKER_ID: Final = re.compile(r"[0-9a-f]{32}")
_TOKEN: Final = re.compile(r"[!-~]{1,64}")

# Texts are arrays of bytes, padded with zeros. ``c_char`` would not do: reading stops at the first zero byte, which
# hides damage, and writing leaves the end of a longer, older text in place.
_Text32 = ctypes.c_uint8 * 32
_Text36 = ctypes.c_uint8 * 36
_Text64 = ctypes.c_uint8 * 64


class Header(ctypes.Structure):
    """The first bytes of the file: which worker it describes, and how many entries follow."""

    _pack_ = 1
    _layout_ = "ms"  # what ``_pack_`` implies; Python 3.14 wants it spelled out
    _fields_ = (
        ("magic", ctypes.c_uint8 * len(MAGIC)),
        ("version", ctypes.c_uint32),
        ("slot_count", ctypes.c_uint32),
        ("lease_count", ctypes.c_uint32),
        ("boot_id", _Text36),
        ("worker_id", _Text32),
        ("namespace", _Text64),
        ("broker", _Text64),
        ("cgroup", ctypes.c_uint8 * MAX_CGROUP_BYTES),
        ("reserved_1", ctypes.c_uint8 * 8),
        ("jobs_taken", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("started", ctypes.c_uint64),
        ("exclusive_jobs", ctypes.c_uint32),
        ("reserved_2", ctypes.c_uint8 * 8),
    )


class LeaseEntry(ctypes.Structure):
    """One lease of the worker; the table of these follows the header. An entry is empty if its first byte is zero."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (
        ("queue", _Text64),
        ("lease_id", _Text64),
        ("lease_s", ctypes.c_double),
        ("renewed_s", ctypes.c_double),
    )


class SlotEntry(ctypes.Structure):
    """One job that may have been started; the table of these ends the file. An entry counts unless it is ``FREE``."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (
        ("state", ctypes.c_uint8),
        ("is_exclusive", ctypes.c_uint8),
        ("reserved", ctypes.c_uint8 * 2),
        ("sequence", ctypes.c_uint32),
        ("fenced", ctypes.c_uint32),
        ("attempt", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("exit_code", ctypes.c_int32),
        ("first_tick", ctypes.c_uint64),
        ("last_tick", ctypes.c_uint64),
        ("queue", _Text64),
        ("job_id", _Text64),
        ("token", _Text64),
        ("held_as", _Text64),
        ("lease_id", _Text64),
    )


HEADER_BYTES: Final = ctypes.sizeof(Header)
LEASE_BYTES: Final = ctypes.sizeof(LeaseEntry)
SLOT_BYTES: Final = ctypes.sizeof(SlotEntry)

_CODES: Final[dict[Any, str]] = {
    ctypes.c_uint8: "B",
    ctypes.c_uint32: "I",
    ctypes.c_int32: "i",
    ctypes.c_uint64: "Q",
    ctypes.c_double: "d",
}


def packer(structure: type[ctypes.Structure], first: str, last: str | None = None) -> struct.Struct:
    """Derive the packing of adjacent fields of a structure, by default of just one; reserved bytes take no value.

    One ``pack_into`` for many fields is faster than as many assignments to a mapped structure.
    """
    codes = {name: _code(name, kind) for name, kind, *_ in structure._fields_}
    names = list(codes)
    wanted = names[names.index(first) : names.index(last or first) + 1]
    return struct.Struct("=" + "".join(codes[name] for name in wanted))


def _code(name: str, kind: Any) -> str:
    if issubclass(kind, ctypes.Array):
        return f"{kind._length_}{'x' if name.startswith('reserved') else 's'}"
    return _CODES[kind]


class SlotState(IntEnum):
    """How far the start of a job has come."""

    FREE = 0
    SPAWNING = 1
    """The job may have been started."""
    RUNNING = 2
    """The job has been started, and the id of its first process is known."""
    EXITED = 3
    """The job's first process has exited, and the worker has read its exit status."""


@dataclass(frozen=True, slots=True)
class JournalSlot:
    """One job that may have been started.

    Attributes:
        index: Position in the table.
        sequence: Distinguishes this use of the slot from earlier ones.
        token: The token in the environment of the job's processes.
        held_as: The token the job is held under; newer than ``token`` if the server forgot the claim and handed the
            job over again.
        is_fenced: Whether the supervisor has killed the job because its lease was about to expire.
        pid: The first process; ``None`` until it is known.
        started: The first and the last clock tick since boot at which that process can have started.
        exit_code: The first process's exit code, negative for a signal; ``None`` while it is unknown.
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

    def matches(self, pid: int, started: int) -> bool:
        """Whether the process with this id and start tick is the recorded one."""
        return self.pid == pid and self.started[0] <= started <= self.started[1]


@dataclass(frozen=True, slots=True)
class JournalLease:
    """A lease that the worker held.

    Attributes:
        lease_s: Its length.
        renewed_s: When the last acknowledged renewal was sent, by ``CLOCK_BOOTTIME``; 0 if it was never renewed.
    """

    queue: str
    lease_id: str
    lease_s: float
    renewed_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a journal at one instant.

    Attributes:
        broker: A fingerprint of the broker, without its address.
        cgroup: The worker's own control group; empty if it had none.
        jobs_taken: Number of jobs the worker had accepted.
        started: The clock tick since boot at which the worker process started; 0 if unknown.
        damaged: Number of invalid entries.
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
    slots: tuple[JournalSlot, ...]
    damaged: int

    def lease_of(self, slot: JournalSlot) -> JournalLease | None:
        """The lease under which a job runs; ``None`` if it is no longer in the table."""
        return next((each for each in self.leases if each.lease_id == slot.lease_id), None)


def read_journal(raw: bytes) -> Snapshot:
    """Read a journal; invalid entries are skipped and counted.

    Raises:
        MalformedData: The header is invalid, or does not match the size.
    """
    slot_count, lease_count = read_counts(raw, len(raw))
    header = Header.from_buffer_copy(raw)
    worker_id, namespace = _text(header.worker_id), _text(header.namespace)
    if not WORKER_ID.fullmatch(worker_id) or not NAME_PATTERN.fullmatch(namespace):
        raise MalformedData("journal", "does not name a worker")
    damaged = 0
    leases: list[JournalLease] = []
    for at in range(HEADER_BYTES, HEADER_BYTES + lease_count * LEASE_BYTES, LEASE_BYTES):
        if raw[at]:
            lease = _lease(LeaseEntry.from_buffer_copy(raw, at))
            damaged += lease is None
            leases += [] if lease is None else [lease]
    slots: list[JournalSlot] = []
    first = HEADER_BYTES + lease_count * LEASE_BYTES
    for index in range(slot_count):
        if raw[first + index * SLOT_BYTES]:
            slot = _slot(index, SlotEntry.from_buffer_copy(raw, first + index * SLOT_BYTES))
            damaged += slot is None
            slots += [] if slot is None else [slot]
    return Snapshot(
        worker_id=worker_id,
        namespace=namespace,
        broker=_text(header.broker),
        boot_id=_text(header.boot_id),
        cgroup=_text(header.cgroup),
        jobs_taken=header.jobs_taken,
        pid=header.pid,
        started=header.started,
        leases=tuple(leases),
        slots=tuple(slots),
        damaged=damaged,
    )


def boot_id() -> str:
    """Identify this boot of the machine; process ids and clock ticks are only valid within one boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def size_of(slots: int, leases: int) -> int:
    """Size in bytes of a journal file with this many entries."""
    return HEADER_BYTES + leases * LEASE_BYTES + slots * SLOT_BYTES


def read_journal_file(file: int) -> Snapshot:
    """Read a journal from an open file.

    Raises:
        MalformedData: It is not a valid journal.
        OSError: It cannot be read.
    """
    size = os.fstat(file).st_size
    if size > size_of(MAX_SLOTS, MAX_LEASES):
        raise MalformedData("journal", f"has {size} bytes")
    return read_journal(os.pread(file, size, 0))


def read_counts(raw: bytes, size: int) -> tuple[int, int]:
    """Read the number of slots and leases from a header.

    Args:
        raw: The beginning of the file, header included.
        size: Size of the whole file.

    Raises:
        MalformedData: The header is invalid, or does not match the size.
    """
    if len(raw) < HEADER_BYTES:
        raise MalformedData("journal", f"has only {len(raw)} bytes")
    header = Header.from_buffer_copy(raw)
    slots, leases = header.slot_count, header.lease_count
    if bytes(header.magic) != MAGIC or header.version != VERSION:
        raise MalformedData("journal", "is not a journal, or of another version")
    if slots > MAX_SLOTS or leases > MAX_LEASES or size != size_of(slots, leases):
        raise MalformedData("journal", f"has {size} bytes for {slots} slots and {leases} leases")
    return slots, leases


def _text(field: ctypes.Array[ctypes.c_uint8]) -> str:
    return bytes(field).rstrip(b"\0").decode("ascii", "backslashreplace")


def _lease(entry: LeaseEntry) -> JournalLease | None:
    lease = JournalLease(_text(entry.queue), _text(entry.lease_id), entry.lease_s, entry.renewed_s)
    is_named = NAME_PATTERN.fullmatch(lease.queue) and NAME_PATTERN.fullmatch(lease.lease_id)
    return lease if is_named and 0 < lease.lease_s < 1e9 and 0 <= lease.renewed_s < 1e12 else None


def _slot(index: int, entry: SlotEntry) -> JournalSlot | None:
    queue, job_id, lease_id = _text(entry.queue), _text(entry.job_id), _text(entry.lease_id)
    token, held_as = _text(entry.token), _text(entry.held_as)
    if entry.state > SlotState.EXITED or not all(map(NAME_PATTERN.fullmatch, (queue, job_id, lease_id))):
        return None
    if not all(map(_TOKEN.fullmatch, (token, held_as))):
        return None
    if entry.attempt < 1 or entry.pid >= 2**31 or (entry.state > SlotState.SPAWNING) != (entry.pid > 0):
        return None
    is_exit_known = entry.state >= SlotState.EXITED and entry.exit_code != UNKNOWN_EXIT
    return JournalSlot(
        index=index,
        state=SlotState(entry.state),
        sequence=entry.sequence,
        queue=queue,
        job_id=job_id,
        attempt=entry.attempt,
        token=token,
        held_as=held_as,
        lease_id=lease_id,
        is_exclusive=bool(entry.is_exclusive),
        is_fenced=entry.fenced == entry.sequence,
        pid=entry.pid or None,
        started=(entry.first_tick, entry.last_tick),
        exit_code=entry.exit_code if is_exit_known else None,
    )
