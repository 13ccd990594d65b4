"""How the whole output of a job that wrote little is stored together with its outcome: a list of chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.packing import as_bytes, as_int, pack, unpack_any

INLINE_BYTES: Final = 4_096
"""The most output that is stored together with an outcome; a job that wrote more has an output stream."""
MAX_INLINE_BYTES: Final = 2 * INLINE_BYTES
"""The largest size of that output when packed: the data, and what describes each chunk."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a job's output.

    Attributes:
        ordinal: Position among all chunks of the attempt; the first is 1.
        offset: Bytes that its stream had written before.
        at_ms: When the worker read it, in ms since 1970 by Redis' clock.
    """

    ordinal: int
    stream: OutputStream
    offset: int
    at_ms: int
    data: bytes


def pack_chunks(chunks: list[Chunk]) -> bytes:
    """Pack the whole output of a job."""
    return pack([[each.ordinal, int(each.stream), each.offset, each.at_ms, each.data] for each in chunks])


def unpack_chunks(raw: bytes) -> list[Chunk]:
    """Unpack the whole output of a job.

    Raises:
        MalformedData: The bytes are not chunks of this version.
    """
    rows = unpack_any("inline output", raw, MAX_INLINE_BYTES)
    try:
        return [
            Chunk(as_int(ordinal), OutputStream(stream), as_int(offset), as_int(at_ms), as_bytes(data))
            for ordinal, stream, offset, at_ms, data in rows
        ]
    except (TypeError, ValueError) as error:
        raise MalformedData("inline output", str(error)) from None
