"""The bytes that cross Redis: one version byte, then msgpack, read with suspicion.

Whoever can write to Redis can write these bytes. Their size is checked before they are unpacked (1 MB of msgpack can
become 64 MB of objects), every length inside is limited, and what comes out must fit its schema exactly: a field that
is unknown, missing or of another kind makes the whole message malformed. Only a worker's sign of life may have fields
that are newer than its reader, or lack those that are newer than its writer: fleets are upgraded one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.packing import as_bytes, as_int, pack, unpack_any

MAX_INLINE_BYTES: Final = 8_192
"""Longest packed output that travels with the end of a job (4 KiB of data and what describes it)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a job's output.

    Attributes:
        ordinal: Place among all chunks of the attempt, from 1.
        offset: Bytes that its stream had written before.
        at_ms: When the worker read it, ms since 1970 by Redis' clock.
    """

    ordinal: int
    stream: OutputStream
    offset: int
    at_ms: int
    data: bytes


def pack_chunks(chunks: list[Chunk]) -> bytes:
    """Pack the whole output of a job that wrote little."""
    return pack([[each.ordinal, int(each.stream), each.offset, each.at_ms, each.data] for each in chunks])


def unpack_chunks(raw: bytes) -> list[Chunk]:
    """Read a small output back.

    Raises:
        MalformedData: The bytes are none of this version.
    """
    rows = unpack_any("inline output", raw, MAX_INLINE_BYTES)
    try:
        return [
            Chunk(as_int(ordinal), OutputStream(stream), as_int(offset), as_int(at_ms), as_bytes(data))
            for ordinal, stream, offset, at_ms, data in rows
        ]
    except (TypeError, ValueError) as error:
        raise MalformedData("inline output", str(error)) from None
