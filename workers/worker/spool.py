"""Results that Redis has not accepted yet, on disk: they survive this process, and a restart of the machine.

A file of records, each a length and a packed map, appended with one write and one ``fsync``. Reading stops at the first
record that is cut short or malformed; the records before it count.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgpack

from oneshot_queue.errors import MalformedData
from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.wire.chunks import pack_chunks, unpack_chunks
from oneshot_queue.workers.worker.state.completions import Completion

_LENGTH: Final = struct.Struct("=I")
_MAX_BYTES: Final = 65_536
_MAX_ERROR_CHARS: Final = 4_000
_MAX_FILE_BYTES: Final = 64 * 1_048_576
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Spooled:
    """A result as it was read from disk.

    Attributes:
        ended_ms: When the attempt ended, in ms since 1970 by Redis' clock as the writer knew it.
    """

    ended_ms: int
    completion: Completion


Record = tuple[Completion, int]
"""A result, and when its attempt ended, in ms since 1970 by Redis' clock."""


class Spool:
    """Keeps results while Redis cannot accept them. Its methods block on the disk: call them in a thread.

    Args:
        path: Its file, in a folder that only this user can open; ``None`` to keep nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def keep(self, records: Sequence[Record]) -> None:
        """Append results, and return when they are on disk.

        Raises:
            OSError: They could not be written.
        """
        if self._path is not None:
            _append(self._path, records)

    def replace(self, records: Sequence[Record]) -> None:
        """Keep these results and no others: Redis has accepted the rest.

        Raises:
            OSError: The file is unchanged.
        """
        if self._path is None:
            return
        if not records:
            self._path.unlink(missing_ok=True)
            return
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        _append(new, records)
        new.replace(self._path)


def _append(path: Path, records: Sequence[Record]) -> None:
    packed = b"".join(_LENGTH.pack(len(record)) + record for record in map(_packed, records))
    file = os.open(path, _FLAGS, 0o600)
    try:
        before = os.fstat(file).st_size
        if os.write(file, packed) < len(packed):
            # The disk is full. Remove the partial record: reading would stop at it.
            os.ftruncate(file, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(file)
    finally:
        os.close(file)


def read_spool(path: Path, keys_of: Callable[[str], QueueKeys]) -> Iterator[Spooled]:
    """Read a spool, up to the first record that is cut short or malformed.

    Args:
        keys_of: Returns the keys of a queue by its name.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            raw = file.read(_MAX_FILE_BYTES)
    except OSError:
        return
    at = 0
    while at + _LENGTH.size <= len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        record = raw[at + _LENGTH.size : at + _LENGTH.size + length]
        if length > _MAX_BYTES or len(record) < length:
            return
        at += _LENGTH.size + length
        try:
            yield _unpacked(record, keys_of)
        except (ValueError, TypeError, KeyError, MalformedData, msgpack.UnpackException):
            return


def _packed(record: Record) -> bytes:
    completion, ended_ms = record
    form = {
        "queue": completion.keys.queue,
        "job": completion.job_id,
        "attempt": completion.attempt,
        "holder": [completion.holder.token, completion.holder.lease, completion.holder.worker],
        "outcome": asdict(completion.outcome)
        | {"output": None, "error": (completion.outcome.error or "")[:_MAX_ERROR_CHARS]},
        "ended_ms": ended_ms,
        "ran_s": None if completion.started_s is None else completion.ended_s - completion.started_s,
        "inline": pack_chunks(list(completion.inline)) if completion.inline else b"",
        "kept": completion.kept,
        "fields": dict(completion.fields),
        "retry_after_s": completion.retry_after_s,
    }
    packed: bytes = msgpack.packb(form, use_bin_type=True)
    return packed


def _unpacked(record: bytes, keys_of: Callable[[str], QueueKeys]) -> Spooled:
    form = msgpack.unpackb(record, raw=False)
    fields = form["outcome"]
    outcome = Outcome(
        JobState(fields["state"]),
        Cause(fields["cause"]),
        fields["exit_code"],
        fields["signal"],
        int(fields["attempt"]),
        Usage(**fields["usage"]),
        fields["error"] or None,
        tuple(fields["survivors"]),
    )
    token, lease, worker = form["holder"]
    ran_s = form["ran_s"]
    completion = Completion(
        keys_of(str(form["queue"])),
        str(form["job"]),
        int(form["attempt"]),
        Holder(str(token), str(lease), str(worker)),
        outcome,
        ended_s=0.0,
        started_s=None if ran_s is None else -float(ran_s),
        inline=tuple(unpack_chunks(form["inline"])) if form["inline"] else (),
        kept=int(form["kept"]),
        fields=form["fields"],
        retry_after_s=form["retry_after_s"],
    )
    return Spooled(int(form["ended_ms"]), completion)
