"""Calls that accept new jobs.

A job that is already stored, or a queue at its limit, is a value here, not an exception.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import JobSpec
from oneshot_queue.store.calls import Call, Word, scripted
from oneshot_queue.store.fields import field
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.wire.specs import pack_spec


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The job is stored; ``created`` is false if an earlier call stored it."""

    created: bool


@dataclass(frozen=True, slots=True)
class Full:
    """The queue is at its limit; this job was not stored. ``length`` is the number of unfinished jobs."""

    length: int


@dataclass(frozen=True, slots=True)
class When:
    """When a job may be started.

    Attributes:
        delay_s: Seconds from now until it is due.
        at_ms: Due time in ms since 1970, instead of ``delay_s``.
        expires_s: Seconds from now after which the job fails if it has not been started.
    """

    delay_s: float | None = None
    at_ms: int | None = None
    expires_s: float | None = None


AT_ONCE: Final = When()

MAX_ENQUEUE: Final = 10
"""Jobs per call: they share its cost, and the server stores them while the next ones are packed."""

_ENQUEUE_ARGS: Final = 2 + 7 * MAX_ENQUEUE

MAX_ENQUEUE_BYTES: Final = 262_144
"""Bytes of specs and stdin per call; the job that reaches the limit is the last of its call."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue."""

    id: str
    spec: JobSpec
    when: When = AT_ONCE


def enqueue(
    keys: QueueKeys, job_id: str, spec: JobSpec, *, by: str, max_length: int, when: When = AT_ONCE
) -> Call[Enqueued | Full]:
    """Enqueue a job. Idempotent by its id: safe to repeat when the reply was lost."""
    (several,) = enqueue_many(keys, [NewJob(job_id, spec, when)], by=by, max_length=max_length)
    return Call(several.words, lambda reply: several.read(reply)[0], several.script)


def enqueue_many(
    keys: QueueKeys, jobs: Iterable[NewJob], *, by: str, max_length: int
) -> Iterator[Call[list[Enqueued | Full]]]:
    """Enqueue jobs in this order, each completely or not at all.

    Each call carries a few jobs, so that none takes long. ``jobs`` is consumed lazily.
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
        if len(args) >= _ENQUEUE_ARGS or size >= MAX_ENQUEUE_BYTES:
            yield scripted("enqueue", keys.queue_keys, tuple(args), _read_enqueued)
            del args[2:]
            size = 0
    if len(args) > 2:
        yield scripted("enqueue", keys.queue_keys, tuple(args), _read_enqueued)


def _read_enqueued(reply: Any) -> list[Enqueued | Full]:
    return [_ENQUEUED[answer] if answer in _ENQUEUED else Full(int(answer)) for answer in reply[1:]]


_ENQUEUED: Final = {b"created": Enqueued(True), b"exists": Enqueued(False)}


def _retry_policy(spec: JobSpec) -> str:
    """Return the retry options for scripts that settle a job without its worker, because Lua cannot read a spec."""
    if not spec.retries:
        return ""
    waits = (math.ceil(spec.retry_delay * 1000), math.ceil(spec.retry_max_delay * 1000))
    return f"{spec.retries} {waits[0]} {waits[1]} {int(Cause.WORKER_LOST in spec.retry_on)}"
