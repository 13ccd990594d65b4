"""Reading a job's output back, as calls.

An attempt's output lies in a head and two tails (see ``keys``); ordinals put their chunks in one order. A jump in a
stream's offsets is a gap: bytes that were written and not kept.
"""

from __future__ import annotations

from typing import Any, Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.store.calls import Call, pairs, plain, text
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk, unpack_chunks

PAGE_CHUNKS: Final = 16
"""Chunks a page: of 64 KiB at most, so that a reply stays at 1 MiB."""


def kind(keys: QueueKeys, job_id: str, attempt: int) -> Call[str]:
    """How an earlier attempt's output is stored: ``stream``, ``inline``, or ``none``."""
    kinds = {"stream": "stream", "string": "inline"}
    return plain("TYPE", keys.output_head(job_id, attempt), read=lambda raw: kinds.get(text(raw), "none"))


def inline_chunks(keys: QueueKeys, job_id: str, attempt: int) -> Call[list[Chunk]]:
    """The whole output of a job that wrote little.

    Its reader raises ``MalformedData`` for bytes that are no output.
    """
    return plain("GET", keys.output_head(job_id, attempt), read=lambda raw: unpack_chunks(raw) if raw else [])


def chunks_of_field(keys: QueueKeys, job_id: str) -> Call[list[Chunk]]:
    """The whole output of a job whose newest attempt wrote so little that it lies in the hash.

    Its reader raises ``MalformedData`` for bytes that are no output.
    """
    return plain("HGET", keys.job(job_id), "written", read=lambda raw: unpack_chunks(raw) if raw else [])


def pages(keys: QueueKeys, job_id: str, attempt: int, after: int) -> list[Call[list[Chunk]]]:
    """The next page of the head and of both tails, behind the chunk with ordinal ``after``."""
    sources = (
        keys.output_head(job_id, attempt),
        keys.output_tail(job_id, attempt, "stdout"),
        keys.output_tail(job_id, attempt, "stderr"),
    )
    return [plain("XRANGE", key, f"({after}", "+", "COUNT", PAGE_CHUNKS, read=_chunks) for key in sources]


def merged(answers: list[list[Chunk]]) -> list[Chunk]:
    """Put the pages of several sources in one order, up to where every source is known.

    A full page may go on; chunks of others behind its last one must wait until it is read, or they would overtake it.
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
            raise MalformedData("output", f"entry {text(entry_id)} is no chunk") from None
    return found
