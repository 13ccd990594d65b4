"""Calls that read a job's output.

An attempt's output is stored in a head and two tails (see ``keys``); ordinals define the order of all their chunks. A
jump in a stream's offsets is a gap: bytes that were written but not kept.
"""

from __future__ import annotations

from typing import Any, Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.store.calls import Call, pairs, plain, text
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk, unpack_chunks

PAGE_CHUNKS: Final = 16
"""Chunks per page and source. A chunk has at most 64 KiB, so a reply has at most 1 MiB."""


def kind(keys: QueueKeys, job_id: str, attempt: int) -> Call[str]:
    """Read how an earlier attempt's output is stored: ``stream``, ``inline`` (a packed string) or ``none``."""
    kinds = {"stream": "stream", "string": "inline"}
    return plain("TYPE", keys.output_head(job_id, attempt), read=lambda raw: kinds.get(text(raw), "none"))


def inline_chunks(keys: QueueKeys, job_id: str, attempt: int) -> Call[list[Chunk]]:
    """Read the whole output of an attempt that wrote little.

    Raises ``MalformedData``, when the reply is read, if it cannot be unpacked.
    """
    return plain("GET", keys.output_head(job_id, attempt), read=lambda raw: unpack_chunks(raw) if raw else [])


def chunks_of_field(keys: QueueKeys, job_id: str) -> Call[list[Chunk]]:
    """Read the whole output of a newest attempt from the job's hash, where a very short one is stored.

    Raises ``MalformedData``, when the reply is read, if it cannot be unpacked.
    """
    return plain("HGET", keys.job(job_id), "written", read=lambda raw: unpack_chunks(raw) if raw else [])


def pages(keys: QueueKeys, job_id: str, attempt: int, after: int) -> list[Call[list[Chunk]]]:
    """Return the reads of the next page of head and tails, after the chunk with ordinal ``after``."""
    sources = (
        keys.output_head(job_id, attempt),
        keys.output_tail(job_id, attempt, "stdout"),
        keys.output_tail(job_id, attempt, "stderr"),
    )
    return [plain("XRANGE", key, f"({after}", "+", "COUNT", PAGE_CHUNKS, read=_chunks) for key in sources]


def merged(answers: list[list[Chunk]]) -> list[Chunk]:
    """Merge the pages of several sources in order of their ordinals, up to where every source has been read.

    After a full page its source may have more chunks. Later chunks of other sources are left out, so that none of those
    is overtaken.
    """
    known_to = min((page[-1].ordinal for page in answers if len(page) == PAGE_CHUNKS), default=None)
    found = [chunk for page in answers for chunk in page if known_to is None or chunk.ordinal <= known_to]
    return sorted(found, key=lambda chunk: chunk.ordinal)


def _chunks(reply: Any) -> list[Chunk]:
    found = []
    for entry_id, fields in reply:
        known = pairs(fields)
        try:
            ordinal = int(text(entry_id).partition("-")[0])
            stream = OutputStream(int(known[b"s"]))
            found.append(Chunk(ordinal, stream, int(known[b"o"]), int(known[b"t"]), known[b"d"]))
        except (KeyError, ValueError):
            raise MalformedData("output", f"entry {text(entry_id)} is not a valid chunk") from None
    return found
