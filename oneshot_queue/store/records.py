"""Calls that read jobs without changing them.

Data from Redis is not trusted: a record that cannot be parsed raises ``MalformedData``. Callers that list many jobs
skip such a job and report it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.jobs import HistoryRow, JobRecord, OutputTotals
from oneshot_queue.outcomes import Cause, Usage
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import STATES_BY_LETTER, JobState
from oneshot_queue.store.calls import Call, pairs, plain, text
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.wire.specs import unpack_spec

NEWEST: Final = 1_000
"""How many of the newest jobs of each state and queue are searched for an id prefix."""

_LAST_MS: Final = 253_402_300_799_999
"""End of the year 9999: ``datetime`` cannot represent a later time."""

_ESCAPE: Final = re.compile(r"\\([\\ntr])")
_ESCAPED: Final = {"\\": "\\", "n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The few facts of a job that waiting verbs poll.

    Attributes:
        output: How the newest attempt's output is stored: ``field``, or the value of the job's field ``output``.
        outputs_dropped: Number of the last attempt whose output is no longer kept; 0 if there is none.
    """

    state: JobState | None
    ended_ms: int | None
    lease: str
    worker: str
    attempt: int
    output: str
    is_confirmed: bool = True
    outputs_dropped: int = 0


def job_status(keys: QueueKeys, job_id: str) -> Call[JobStatus]:
    """Read a job's status; its ``state`` is ``None`` if there is no such job."""

    def read(reply: Any) -> JobStatus:
        known = (text(value) if value is not None else "" for value in reply)
        state, ended, lease, worker, attempt, output, confirmed, outputs_dropped, written = known
        return JobStatus(
            JobState(state) if state else None,
            int(ended) if ended else None,
            lease,
            worker,
            int(attempt or "1"),
            "field" if written else output,
            confirmed != "0",
            int(outputs_dropped or "0"),
        )

    fields = ("state", "ended", "lease", "worker", "attempt", "output", "confirmed", "forgot", "written")
    return plain("HMGET", keys.job(job_id), *fields, read=read)


@dataclass(frozen=True, slots=True)
class UnfinishedAttempt:
    """An attempt whose worker is gone: bytes of output that are kept, and whether an interrupt is recorded."""

    kept: int
    is_interrupted: bool


def unfinished_attempt(keys: QueueKeys, job_id: str) -> Call[UnfinishedAttempt]:
    """Read what is stored of an attempt that a dead worker did not finish."""

    def read(reply: Any) -> UnfinishedAttempt:
        written, dropped, interrupt = reply
        return UnfinishedAttempt(max(0, int(written or 0) - int(dropped or 0)), interrupt is not None)

    return plain("HMGET", keys.job(job_id), "bytes", "dropped", "interrupt", read=read)


def exists(keys: QueueKeys, job_id: str) -> Call[bool]:
    """Whether the job exists."""
    return plain("EXISTS", keys.job(job_id), read=bool)


def record_parts(keys: QueueKeys, job_id: str) -> list[Call[Any]]:
    """Return the three reads that ``parsed_record`` needs, to be sent together."""
    return [
        plain("HGETALL", keys.job(job_id), read=pairs),
        plain("GET", keys.spec(job_id), read=lambda raw: raw),
        plain("GET", keys.text(job_id), read=lambda raw: raw),
    ]


def packed_spec_parts(keys: QueueKeys, job_id: str) -> list[Call[bytes | None]]:
    """Return the two reads that ``packed_spec`` needs, to be sent together: a short spec is in the job's hash."""
    return [
        plain("HGET", keys.job(job_id), "spec", read=lambda raw: raw),
        plain("GET", keys.spec(job_id), read=lambda raw: raw),
    ]


def packed_spec(answers: Sequence[Any]) -> bytes | None:
    """Return the packed spec of a job, from the answers of ``packed_spec_parts``; ``None`` if there is none."""
    return next((raw for raw in answers if isinstance(raw, bytes)), None)


def packed_stdin(keys: QueueKeys, job_id: str) -> Call[bytes | None]:
    """Read the stdin of a job; ``None`` if there is none."""
    return plain("GET", keys.stdin(job_id), read=lambda raw: raw)


def grace(answers: Sequence[Any]) -> float:
    """Return seconds between SIGTERM and SIGKILL, from the answers of ``packed_spec_parts``; 0 if unreadable."""
    spec = _spec(packed_spec(answers))
    return spec.grace if spec is not None else 0.0


def newest(keys: QueueKeys, state: JobState, start: int, count: int) -> Call[list[tuple[int, str]]]:
    """Read ``count`` jobs of a state, newest first: pairs of the time they entered it (ms) and id."""

    def read(reply: Any) -> list[tuple[int, str]]:
        flat = iter(reply)
        rows = ((float(score), text(job_id)) for job_id, score in zip(flat, flat, strict=True))
        # Damaged times are clamped, not dropped: a page that is not full would look like the last.
        return [(int(min(max(at_ms, 0), _LAST_MS)), job_id) for at_ms, job_id in rows]

    return plain("ZREVRANGE", keys.state(state), start, start + count - 1, "WITHSCORES", read=read)


def parsed_record(keys: QueueKeys, job_id: str, answers: list[Any]) -> JobRecord | None:
    """Build the record from the answers of ``record_parts``; ``None`` if there is no such job.

    Raises:
        MalformedData: The record cannot be parsed.
    """
    fields, spec, lines = answers
    if not fields:
        return None
    spec = fields.get(b"spec", spec)
    try:
        return _record(
            keys.queue, job_id, {text(name): text(value) for name, value in fields.items()}, spec, lines or b""
        )
    except (KeyError, ValueError) as error:
        raise MalformedData(f"job {job_id}", f"its record is damaged ({error!r})") from None


def _record(queue: str, job_id: str, fields: dict[str, str], raw_spec: bytes | None, lines: bytes) -> JobRecord:
    rows, texts = _text_lines(lines)
    history = (*_log_rows(fields), *rows)
    state = JobState(fields["state"])
    requested = _instant(fields, "interrupt")
    usage = None
    if "usage" in fields:
        user_us, system_us, max_rss_kib = map(int, fields["usage"].split(" "))
        usage = Usage(user_us / 1e6, system_us / 1e6, max_rss_kib * 1024)
    return JobRecord(
        id=job_id,
        queue=queue,
        state=state,
        attempt=int(fields["attempt"]),
        created_ms=_checked_ms(fields["created"]),
        changed_ms=_checked_ms(fields.get("changed") or fields.get("ended") or fields["created"]),
        spec=_spec(raw_spec),
        cause=Cause(fields["cause"]) if "cause" in fields else None,
        error=texts.get("error"),
        reason=texts.get("reason"),
        worker=fields.get("worker"),
        host=fields.get("host"),
        pid=_number(fields, "pid"),
        started_ms=_instant(fields, "started"),
        ended_ms=_instant(fields, "ended"),
        last_output_ms=_instant(fields, "last_output"),
        exit_code=_number(fields, "exit_code"),
        signal=_number(fields, "signal"),
        interrupting=requested is not None and not state.is_final,
        interrupt_requested_ms=requested,
        survivors=_number(fields, "survivors") or 0,
        output=OutputTotals(_number(fields, "bytes") or 0, _number(fields, "dropped") or 0),
        usage=usage,
        history=history,
        history_dropped=int(texts.get("dropped", "0")),
        outputs_dropped=_number(fields, "forgot") or 0,
        due_ms=_instant(fields, "due"),
        expires_ms=_instant(fields, "expires"),
        is_confirmed=fields.get("confirmed") != "0",
    )


def _spec(raw: bytes | None) -> JobSpec | None:
    try:
        return unpack_spec(raw) if raw is not None else None
    except MalformedData:
        return None


def _number(fields: Mapping[str, str], name: str) -> int | None:
    return int(fields[name]) if name in fields else None


def _instant(fields: Mapping[str, str], name: str) -> int | None:
    return _checked_ms(fields[name]) if name in fields else None


def _checked_ms(value: str) -> int:
    if not 0 <= (at_ms := int(value)) <= _LAST_MS:
        raise ValueError(f"{at_ms} is not a valid time")
    return at_ms


def _log_rows(fields: Mapping[str, str]) -> Iterator[HistoryRow]:
    """Parse a short history, which is stored in the field ``log``; see ``base.lua``."""
    for line in fields.get("log", "").splitlines():
        since, cause, by = [*line.split("\t"), "", ""][:3]
        at_ms = _checked_ms(str(int(fields["created"]) + int(since[1:])))
        yield HistoryRow(
            STATES_BY_LETTER[since[:1]], at_ms, 1, cause or None, (fields.get("worker") if by == "*" else by) or None
        )


def _text_lines(raw: bytes) -> tuple[tuple[HistoryRow, ...], dict[str, str]]:
    rows: list[HistoryRow] = []
    texts: dict[str, str] = {}
    for line in text(raw).split("\n"):
        kind, _, rest = line.partition("\t")
        if kind.startswith("!"):
            texts[kind[1:]] = _ESCAPE.sub(lambda match: _ESCAPED[match[1]], rest)
        elif line:
            attempt, state, cause, by, *detail = rest.split("\t")
            at_ms, more = _checked_ms(kind), detail[0] if detail else None
            rows.append(HistoryRow(JobState(state), at_ms, int(attempt), cause or None, by or None, more or None))
    return tuple(rows), texts
