"""Calls that report about an attempt: what happens in it, what it writes, and its result.

Each call proves with a ``Holder`` that the attempt is the caller's. What a script refuses is a value, not an exception.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call, Word, scripted, text
from oneshot_queue.store.fields import field, flat, one_line
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.retention import retention_of
from oneshot_queue.wire.chunks import Chunk


@dataclass(frozen=True, slots=True)
class Recorded:
    """The report is recorded, by this call or an earlier one; ``state`` is ``None`` if by an earlier one."""

    state: JobState | None = None


@dataclass(frozen=True, slots=True)
class Fenced:
    """The attempt is no longer the job's current one: end its processes and report nothing more."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The job's state does not allow the event."""

    state: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Proof that an attempt is the caller's: its token and lease; and the worker's name, for the history."""

    token: str
    lease: str
    worker: str


def record(
    keys: QueueKeys,
    job_id: str,
    holder: Holder,
    *,
    sequence: int,
    event: str | None,
    ago_ms: int,
    fields: Mapping[str, Word],
) -> Call[Recorded | Fenced | Refused]:
    """Record a silence, an activity, or a fact such as the process id.

    Args:
        sequence: Number of the record within the attempt; one that is not above the last counts as recorded.
        event: Event of the state machine, or ``None``.
        ago_ms: Milliseconds since it happened.
        fields: Fields of the job's hash to set.
    """
    args: tuple[Word, ...] = (job_id, holder.token, holder.lease, sequence, event or "", ago_ms, field(holder.worker))
    return scripted("record", (keys.prefix, keys.job(job_id)), (*args, *flat(fields)), read_recorded)


def append_output(
    keys: QueueKeys,
    job_id: str,
    attempt: int,
    holder: Holder,
    chunks: Sequence[tuple[Chunk, bool]],
    *,
    total: int,
    dropped: int,
    now_ms: int,
    tail_from: tuple[int, int],
) -> Call[Recorded | Fenced]:
    """Store chunks of output.

    Args:
        chunks: Chunks, each with whether it belongs to the head; their ``at_ms`` is by the clock of ``now_ms``.
        total: Bytes that the attempt has written so far, both streams.
        dropped: How many of these bytes are not kept.
        tail_from: First ordinal to keep in the tails of stdout and of stderr.
    """
    rows: list[Word] = []
    for chunk, in_head in chunks:
        key = 3 if in_head else 3 + chunk.stream
        rows += (chunk.ordinal, key, int(chunk.stream), chunk.offset, max(0, now_ms - chunk.at_ms), chunk.data)
    last_ms = max(0, now_ms - chunks[-1][0].at_ms)
    args: tuple[Word, ...] = (job_id, holder.token, holder.lease, total, dropped, last_ms, *tail_from)
    own_keys = (
        keys.prefix,
        keys.job(job_id),
        keys.output_head(job_id, attempt),
        keys.output_tail(job_id, attempt, "stdout"),
        keys.output_tail(job_id, attempt, "stderr"),
    )
    return scripted("append_output", own_keys, (*args, *rows), read_recorded)


def finish(
    keys: QueueKeys,
    job_id: str,
    holder: Holder,
    outcome: Outcome,
    *,
    ago_ms: int,
    inline_output: bytes,
    kept: int,
    fields: Mapping[str, Word],
    settings: Settings,
    retry_after_s: float | None = None,
) -> Call[Recorded | Fenced | Refused]:
    """Record an attempt's result: the job's final state, or CREATED for a retry. Repeated, it answers ``Recorded``.

    Args:
        ago_ms: Milliseconds since the attempt ended.
        inline_output: All output, packed, if it is in no stream; else empty.
        kept: Bytes of output that are kept.
        fields: Further fields of the job's hash, set if the state is final.
        retry_after_s: Seconds until the next attempt may begin; ``None`` if this was the last.
    """
    event = {JobState.COMPLETED: "finish", JobState.FAILED: "fail", JobState.INTERRUPTED: "interrupt"}[outcome.state]
    args: tuple[Word, ...] = (
        job_id,
        holder.token,
        holder.lease,
        event,
        outcome.cause,
        ago_ms,
        field(holder.worker),
        one_line(outcome.error or ""),
        inline_output,
        kept,
        *retention_of(settings),
        "" if retry_after_s is None else math.ceil(retry_after_s * 1000),
        _detail(outcome),
    )
    ended = flat({**fields, **_result_fields(outcome)})
    return scripted("finish", (keys.prefix, keys.job(job_id)), (*args, *ended), read_recorded)


def _detail(outcome: Outcome) -> str:
    if outcome.signal is not None:
        return f"signal {outcome.signal}"
    return "" if outcome.exit_code is None else f"exit {outcome.exit_code}"


def _result_fields(outcome: Outcome) -> dict[str, Word]:
    found: dict[str, Word | None] = {
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "survivors": len(outcome.survivors) or None,
    }
    if outcome.cause not in (Cause.SPAWN_ERROR, Cause.REJECTED):
        usage = outcome.usage
        found["usage"] = f"{usage.cpu_user_s * 1e6:.0f} {usage.cpu_system_s * 1e6:.0f} {usage.max_rss_bytes // 1024}"
    return {name: value for name, value in found.items() if value is not None}


def read_recorded(reply: Any) -> Any:
    """Read the reply of a script that writes about an attempt."""
    match reply:
        case [b"recorded" | b"finished", state]:
            return Recorded(JobState(text(state)))
        case [b"appended"] | [b"done", *_]:
            return Recorded()
        case [b"fenced"]:
            return Fenced()
        case _:
            return Refused(text(reply[1]))
