"""Calls about leases: a worker's right to run jobs of one queue, and the interrupts that await it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.store.calls import Call, pairs, plain, scripted, text
from oneshot_queue.store.keys import QueueKeys

_INTENT: Final = re.compile(r"([0-9]{1,9}) ([0-9]{1,12}|-)")


@dataclass(frozen=True, slots=True)
class Intent:
    """A recorded interrupt that a worker is to carry out.

    Attributes:
        grace_s: Seconds between SIGTERM and SIGKILL, or ``None`` for the job's own.
    """

    job_id: str
    attempt: int
    grace_s: float | None


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease is renewed.

    Attributes:
        now_ms: Time on Redis' clock.
        intents: Interrupts recorded for jobs of this lease.
        malformed: How many recorded interrupts cannot be parsed.
    """

    now_ms: int
    intents: tuple[Intent, ...]
    malformed: int


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The lease has ended or is condemned; its jobs are no longer this worker's."""


def worker_of(lease: str) -> str:
    """Return the worker id of a lease, which is ``<worker id>.<n>``."""
    return lease.rpartition(".")[0]


def register(keys: QueueKeys, lease: str, lease_s: float) -> Call[int]:
    """Register a lease; answers the time on Redis' clock in ms."""
    return scripted("register", (keys.prefix, keys.workers), (lease, round(lease_s * 1000)), _now_ms)


def restore(keys: QueueKeys, lease: str, lease_s: float) -> Call[int]:
    """Register a lease again that the server may have lost; answers the time on Redis' clock in ms."""
    return scripted("restore", (keys.prefix, keys.workers), (lease, round(lease_s * 1000)), _now_ms)


def renew(keys: QueueKeys, lease: str, lease_s: float, stale: Iterable[Intent] = ()) -> Call[Renewed | LeaseLost]:
    """Renew a lease and fetch the interrupts recorded for its jobs.

    Args:
        stale: Interrupts to remove, because this lease no longer holds their jobs.
    """

    def read(reply: Any) -> Renewed | LeaseLost:
        if reply[0] == b"lost":
            return LeaseLost()
        intents, malformed = _intents(pairs(reply[2:]))
        return Renewed(_now_ms(reply), intents, malformed)

    own = (keys.prefix, keys.workers, keys.intents(lease))
    stale_words = [word for intent in stale for word in (intent.job_id, _stored(intent))]
    return scripted("renew", own, (lease, round(lease_s * 1000), *stale_words), read)


def read_intents(keys: QueueKeys, lease: str) -> Call[tuple[tuple[Intent, ...], int]]:
    """Fetch the recorded interrupts, and how many cannot be parsed, without renewing; for when one was announced."""
    return plain("HGETALL", keys.intents(lease), read=lambda reply: _intents(pairs(reply)))


def unregister(keys: QueueKeys, lease: str) -> Call[bool]:
    """Remove a lease; answers false, and keeps it, if it still holds jobs."""
    own = (keys.prefix, keys.workers, keys.intents(lease))
    return scripted("unregister", own, (lease,), lambda reply: bool(reply[0] == b"unregistered"))


def count_malformed(keys: QueueKeys, count: int) -> Call[int]:
    """Add malformed interrupts to the queue's counter."""
    return plain("HINCRBY", keys.counters, "malformed", count, read=int)


def leases(keys: QueueKeys) -> Call[list[str]]:
    """Return at most 1,000 leases of a queue, those that end last."""
    return plain("ZREVRANGE", keys.workers, 0, 999, read=lambda reply: [text(lease) for lease in reply])


def _stored(intent: Intent) -> str:
    return f"{intent.attempt} {'-' if intent.grace_s is None else round(intent.grace_s * 1000)}"


def _now_ms(reply: Any) -> int:
    return int(reply[1])


def _intents(rows: dict[bytes, bytes]) -> tuple[tuple[Intent, ...], int]:
    found, malformed = [], 0
    for job_id, raw in rows.items():
        match = _INTENT.fullmatch(text(raw))
        if match is None:
            malformed += 1
            continue
        grace = None if match[2] == "-" else int(match[2]) / 1000
        found.append(Intent(text(job_id), int(match[1]), grace))
    return tuple(found), malformed
