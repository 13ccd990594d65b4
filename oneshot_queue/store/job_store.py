"""The transitions of jobs, as calls: one function for each script that changes one.

Every function says which replies it can give; what a script refuses is a value here, not an exception.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from oneshot_queue.jobs import MAX_TEXT_CHARS, Cause, JobSpec, Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call, Word, scripted, text
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.wire import Chunk, pack_spec

MAX_FIELD_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job is stored; ``created`` is false if it had been before."""

    created: bool


@dataclass(frozen=True, slots=True)
class Full:
    """The queue is at its limit; nothing was stored."""

    length: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """It is written down, now or by an earlier call; ``state`` is ``None`` in the second case."""

    state: JobState | None = None


@dataclass(frozen=True, slots=True)
class Fenced:
    """The job belongs to another token: end its processes, write nothing."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The job's state does not allow it."""

    state: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The interrupt ended the job at once: it waited, or its worker has no lease.

    Attributes:
        is_confirmed: Whether no process of it can be left; unknown of a worker that is gone.
    """

    state: JobState
    ended_ms: int
    is_confirmed: bool = True


@dataclass(frozen=True, slots=True)
class IntentRecorded:
    """The interrupt is on record for the worker that holds the job."""

    state: JobState
    worker: str


@dataclass(frozen=True, slots=True)
class AlreadyFinal:
    """The job had ended; nothing was written."""

    state: JobState
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such job; nothing was written."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who writes: the attempt's token, the lease it runs under, and the worker's name for the history."""

    token: str
    lease: str
    worker: str


def one_line(value: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Make a text safe for a line of ``T:text``: backslash, newline and tab escaped, the rest cut at ``limit``."""
    cut = value if len(value) <= limit else value[: limit - 1] + "…"
    return cut.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


@lru_cache(maxsize=256)
def field(value: str) -> str:
    """Make a name safe and short enough for a history row and for the job's hash."""
    safe = "".join(each if each.isprintable() else "?" for each in value)[:MAX_FIELD_CHARS]
    while len(safe.encode("utf-8", "replace")) > MAX_FIELD_CHARS:
        safe = safe[:-1]
    return safe


@dataclass(frozen=True, slots=True)
class When:
    """When a job may be started.

    Attributes:
        delay_s: Seconds from now until it is due.
        at_ms: When it is due, ms since 1970; instead of ``delay_s``.
        expires_s: Seconds from now after which it need not be started any more.
    """

    delay_s: float | None = None
    at_ms: int | None = None
    expires_s: float | None = None


AT_ONCE: Final = When()

MAX_SUBMIT: Final = 10
"""Jobs that one call submits: enough to share what a call costs; while the server stores some, others are packed."""

_SUBMIT_ARGS: Final = 2 + 7 * MAX_SUBMIT

MAX_SUBMIT_BYTES: Final = 262_144
"""A call ends with the job that reaches them."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is to be accepted."""

    id: str
    spec: JobSpec
    when: When = AT_ONCE


def submit(
    keys: QueueKeys, job_id: str, spec: JobSpec, *, by: str, max_length: int, when: When = AT_ONCE
) -> Call[Submitted | Full]:
    """Accept a job. Idempotent by its id, so it may be repeated when its reply was lost."""
    (several,) = submit_many(keys, [NewJob(job_id, spec, when)], by=by, max_length=max_length)
    return Call(several.words, lambda reply: several.read(reply)[0], several.script)


def submit_many(
    keys: QueueKeys, jobs: Iterable[NewJob], *, by: str, max_length: int
) -> Iterator[Call[list[Submitted | Full]]]:
    """Accept jobs in this order, each whole or not at all; some of them with each call, so that none takes long.

    Jobs are asked for as they are needed.
    """
    args: list[Word] = [field(by), max_length]
    size = 0
    for job in jobs:
        spec, when = job.spec, job.when
        packed, stdin = pack_spec(spec), spec.stdin or b""
        due: Word = "" if when.at_ms is None else when.at_ms
        if when.delay_s is not None:
            due = f"+{math.ceil(when.delay_s * 1000)}"
        expires: Word = "" if when.expires_s is None else math.ceil(when.expires_s * 1000)
        args += (job.id, packed, spec.priority, stdin, due, expires, _retry_policy(spec))
        size += len(packed) + len(stdin)
        if len(args) >= _SUBMIT_ARGS or size >= MAX_SUBMIT_BYTES:
            yield scripted("enqueue", keys.nameless, tuple(args), _read_submitted)
            del args[2:]
            size = 0
    if len(args) > 2:
        yield scripted("enqueue", keys.nameless, tuple(args), _read_submitted)


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
    """Write down a silence, an activity, or a fact such as the process id."""
    args: tuple[Word, ...] = (job_id, holder.token, holder.lease, sequence, event or "", ago_ms, field(holder.worker))
    return scripted("record", (keys.prefix, keys.job(job_id)), (*args, *_flat(fields)), read_recorded)


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
        chunks: Each with whether it belongs to the head; ``at_ms`` by the same clock as ``now_ms``.
        total: Bytes written so far, both streams.
        dropped: Bytes of these that are not kept.
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
    """Write an attempt's end: the job's final state, or CREATED once more. Repeated, it answers ``Recorded`` again.

    Args:
        retry_after_s: Seconds until the next attempt may begin; ``None`` if there is none.
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
        *_retention(settings),
        "" if retry_after_s is None else math.ceil(retry_after_s * 1000),
        _detail(outcome),
    )
    ended = _flat({**fields, **_ending_fields(outcome)})
    return scripted("finish", (keys.prefix, keys.job(job_id)), (*args, *ended), read_recorded)


def interrupt(
    keys: QueueKeys, job_id: str, *, grace: float | None, by: str, reason: str | None, settings: Settings
) -> Call[Ended | IntentRecorded | AlreadyFinal | Missing]:
    """Ask for a job's end; repeated with a shorter grace, it hurries the end."""

    def read(reply: Any) -> Ended | IntentRecorded | AlreadyFinal | Missing:
        match reply:
            case [b"ended", state, ended_ms, confirmed]:
                return Ended(JobState(text(state)), int(ended_ms), confirmed == 1)
            case [b"recorded", state, worker]:
                return IntentRecorded(JobState(text(state)), text(worker))
            case [b"final", state, ended_ms]:
                return AlreadyFinal(JobState(text(state)), int(ended_ms))
            case _:
                return Missing()

    _, keep_ms, max_jobs, max_bytes = _retention(settings)
    grace_ms: Word = "" if grace is None else round(grace * 1000)
    args: tuple[Word, ...] = (job_id, grace_ms, field(by), one_line(reason or ""), keep_ms, max_jobs, max_bytes)
    return scripted("interrupt", (keys.prefix, keys.job(job_id)), args, read)


@dataclass(frozen=True, slots=True)
class Promoted:
    """What the clock brought about: how many jobs, and in how many seconds there is more to do, if anything waits."""

    count: int
    next_s: float | None


def promote(keys: QueueKeys, settings: Settings) -> Call[Promoted]:
    """Let jobs that are due wait for a worker, and end those that nobody started in time."""

    def read(reply: Any) -> Promoted:
        wait_ms = int(reply[2])
        return Promoted(int(reply[1]), None if wait_ms < 0 else wait_ms / 1000)

    return scripted("promote", keys.nameless, (keep_failed_ms(settings),), read)


def prune(keys: QueueKeys, settings: Settings) -> Call[int]:
    """Forget at most 100 finished jobs that are too old or too many; answers how many it forgot."""
    return scripted("prune", keys.nameless, _retention(settings), lambda reply: int(reply[1]))


def _read_submitted(reply: Any) -> list[Submitted | Full]:
    return [_SUBMITTED[answer] if answer in _SUBMITTED else Full(int(answer)) for answer in reply[1:]]


_SUBMITTED: Final = {b"created": Submitted(True), b"exists": Submitted(False)}


def _retry_policy(spec: JobSpec) -> str:
    """For the scripts that decide a job without its worker, and cannot read a spec."""
    if not spec.retries:
        return ""
    waits = (math.ceil(spec.retry_delay * 1000), math.ceil(spec.retry_max_delay * 1000))
    return f"{spec.retries} {waits[0]} {waits[1]} {int(Cause.WORKER_LOST in spec.retry_on)}"


def _detail(outcome: Outcome) -> str:
    if outcome.signal is not None:
        return f"signal {outcome.signal}"
    return "" if outcome.exit_code is None else f"exit {outcome.exit_code}"


def keep_failed_ms(settings: Settings) -> int:
    """How long a FAILED or INTERRUPTED job is kept."""
    return round(settings.keep_failed_s * 1000)


def _retention(settings: Settings) -> tuple[int, int, int, int]:
    return (
        round(settings.keep_completed_s * 1000),
        keep_failed_ms(settings),
        settings.max_finished_jobs,
        settings.max_finished_output_bytes,
    )


def _ending_fields(outcome: Outcome) -> dict[str, Word]:
    found: dict[str, Word | None] = {
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "survivors": len(outcome.survivors) or None,
    }
    if outcome.cause not in (Cause.SPAWN_ERROR, Cause.REJECTED):
        usage = outcome.usage
        found["usage"] = f"{usage.cpu_user_s * 1e6:.0f} {usage.cpu_system_s * 1e6:.0f} {usage.max_rss_bytes // 1024}"
    return {name: value for name, value in found.items() if value is not None}


def _flat(fields: Mapping[str, Word]) -> tuple[Word, ...]:
    return tuple(word for pair in fields.items() for word in pair)


def read_recorded(reply: Any) -> Any:
    """The answer of a script that writes about an attempt."""
    match reply:
        case [b"recorded" | b"finished", state]:
            return Recorded(JobState(text(state)))
        case [b"appended"] | [b"done", *_]:
            return Recorded()
        case [b"fenced"]:
            return Fenced()
        case _:
            return Refused(text(reply[1]))
