"""The verb that reads a job's output, from the beginning or a cursor, and on request follows it to the end."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.client.attention import OnUnattended, UnattendedNotifier
from oneshot_queue.client.effects import Context, Effect, Verb, read_with_retries, wait_for_message
from oneshot_queue.errors import InvalidSetting, JobNotFound
from oneshot_queue.store import output, records
from oneshot_queue.store.records import JobStatus
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk

logger = logging.getLogger(__name__)

_CURSOR: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of a job's output.

    Attributes:
        stream: stdout or stderr.
        data: The bytes.
        at_ms: When the worker read them, in ms since 1970.
        cursor: Pass it as ``after`` to continue after this chunk.
        missing: Bytes of this stream that the job wrote directly before this chunk and that were not kept.
        attempt: The attempt that wrote them, from 1.
    """

    stream: OutputStream
    data: bytes
    at_ms: int
    cursor: str
    missing: int
    attempt: int


def read_output(
    context: Context,
    job_id: str,
    *,
    follow: bool = False,
    after: str | None = None,
    attempt: int | None = None,
    on_unattended: OnUnattended | None = None,
) -> Generator[Effect | OutputChunk, Any, None]:
    """Yield the chunks of one attempt in order, between the effects that fetch them.

    Args:
        follow: Wait for the job to start, and continue until it ends, across retries.
        after: The cursor of the last chunk that was read.
        attempt: Read only this attempt; by default the newest.

    Raises:
        JobNotFound: There is no such job.
        InvalidSetting: The cursor is invalid, there was no such attempt, or its output was dropped.
        MalformedData: The stored output cannot be parsed.
    """
    only = attempt
    attempt, ordinal, ends = _parsed_cursor(after)
    notifier = UnattendedNotifier(context, job_id, on_unattended)
    while True:
        (seen,) = yield from read_with_retries(context, [records.job_status(context.keys, job_id)])
        if seen.state is None:
            raise JobNotFound(job_id, [context.queue])
        if attempt is None:
            attempt = only or seen.attempt
        if attempt > seen.attempt:
            raise InvalidSetting("attempt", f"job {job_id} has no attempt {attempt}; the newest is {seen.attempt}")
        if attempt <= seen.outputs_dropped:
            if only is not None:
                problem = f"the output of attempt {attempt} of job {job_id} was dropped"
                raise InvalidSetting("attempt", f"{problem}; it is kept from attempt {seen.outputs_dropped + 1} on")
            logger.warning(
                "the output of attempts %d to %d of job %s was dropped", attempt, seen.outputs_dropped, job_id
            )
            attempt, ordinal, ends = seen.outputs_dropped + 1, 0, dict.fromkeys(OutputStream, 0)
        # The state was read before the output, so once the state is final, the output is complete.
        ended = seen.state.is_final or seen.attempt > attempt
        while chunks := (yield from _next_page(context, job_id, attempt, ordinal, seen)):
            for chunk in chunks:
                ordinal = chunk.ordinal
                missing = max(0, chunk.offset - ends[chunk.stream])
                ends[chunk.stream] = chunk.offset + len(chunk.data)
                # The cursor holds the end offsets of both streams, so a gap directly after it is still detected.
                cursor = ".".join(str(part) for part in (attempt, ordinal, *ends.values()))
                yield OutputChunk(chunk.stream, chunk.data, chunk.at_ms, cursor, missing, attempt)
        if follow and only is None and seen.attempt > attempt:
            attempt, ordinal, ends = attempt + 1, 0, dict.fromkeys(OutputStream, 0)
            continue
        if ended or not follow:
            return
        yield from notifier.check(seen)
        yield from wait_for_message([context.keys.events(job_id)])


def _next_page(context: Context, job_id: str, attempt: int, after: int, seen: JobStatus) -> Verb[list[Chunk]]:
    kind = seen.output
    if attempt != seen.attempt:
        (kind,) = yield from read_with_retries(context, [output.kind(context.keys, job_id, attempt)])
    match kind:
        case "stream":
            return output.merged(
                (yield from read_with_retries(context, output.pages(context.keys, job_id, attempt, after)))
            )
        case "field":
            call = output.chunks_of_field(context.keys, job_id)
        case "inline":
            call = output.inline_chunks(context.keys, job_id, attempt)
        case _:
            return []
    (chunks,) = yield from read_with_retries(context, [call])
    return [chunk for chunk in chunks if chunk.ordinal > after]


def _parsed_cursor(cursor: str | None) -> tuple[int | None, int, dict[OutputStream, int]]:
    """Return the attempt, the ordinal of the last chunk read, and the offset up to which each stream was read."""
    if cursor is None:
        return None, 0, dict.fromkeys(OutputStream, 0)
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidSetting("after", f"{cursor!r} is not a valid cursor; pass the cursor of a chunk")
    attempt, ordinal, *ends = (int(part) for part in match.groups())
    return attempt, ordinal, dict(zip(OutputStream, ends, strict=True))
