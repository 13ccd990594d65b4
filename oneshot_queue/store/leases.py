"""A worker's leases and its sign of life, as calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.store.calls import Call, pairs, plain, scripted, text
from oneshot_queue.store.claims import Lost
from oneshot_queue.store.keys import QueueKeys, queues_key

_INTENT: Final = re.compile(r"([0-9]{1,9}) ([0-9]{1,12}|-)")


@dataclass(frozen=True, slots=True)
class Intent:
    """An interrupt to carry out.

    Attributes:
        grace_s: Seconds between SIGTERM and SIGKILL, or ``None`` for the job's own.
    """

    job_id: str
    attempt: int
    grace_s: float | None


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease goes on.

    Attributes:
        now_ms: The time on Redis' clock.
        malformed: Intents that nobody can read.
    """

    now_ms: int
    intents: tuple[Intent, ...]
    malformed: int


def worker_of(lease: str) -> str:
    """The worker a lease ``<worker id>.<n>`` belongs to."""
    return lease.rpartition(".")[0]


def register(keys: QueueKeys, lease: str, lease_s: float) -> Call[int]:
    """Begin a lease; answers the time on Redis' clock, in ms."""
    return scripted("register", (keys.prefix, keys.workers), (lease, round(lease_s * 1000)), _now_ms)


def restore(keys: QueueKeys, lease: str, lease_s: float) -> Call[int]:
    """Register a lease again that the server may have forgotten; answers the time on Redis' clock, in ms."""
    return scripted("restore", (keys.prefix, keys.workers), (lease, round(lease_s * 1000)), _now_ms)


def renew(keys: QueueKeys, lease: str, lease_s: float, stale: Iterable[Intent] = ()) -> Call[Renewed | Lost]:
    """Prolong a lease and fetch the interrupts that are on record for its jobs.

    Args:
        useless: Interrupts that nobody under this lease can carry out any more.
    """

    def read(reply: Any) -> Renewed | Lost:
        if reply[0] == b"lost":
            return Lost()
        intents, malformed = _intents(pairs(reply[2:]))
        return Renewed(_now_ms(reply), intents, malformed)

    own = (keys.prefix, keys.workers, keys.intents(lease))
    forgotten = [word for intent in stale for word in (intent.job_id, _stored(intent))]
    return scripted("renew", own, (lease, round(lease_s * 1000), *forgotten), read)


def read_intents(keys: QueueKeys, lease: str) -> Call[tuple[tuple[Intent, ...], int]]:
    """Fetch the interrupts alone, and how many of them nobody can read; for when one was announced."""
    return plain("HGETALL", keys.intents(lease), read=lambda reply: _intents(pairs(reply)))


def unregister(keys: QueueKeys, lease: str) -> Call[bool]:
    """End a lease; answers false if jobs are still pending under it."""
    own = (keys.prefix, keys.workers, keys.intents(lease))
    return scripted("unregister", own, (lease,), lambda reply: bool(reply[0] == b"unregistered"))


def ring(keys: QueueKeys) -> Call[int]:
    """Wake one idle worker."""
    return plain("RPUSH", keys.bell, "1", read=int)


def wait_for_bell(keys: QueueKeys, timeout_s: float) -> Call[bool]:
    """Block until there may be work; answers false when the time was over. For a connection of its own."""
    return plain("BLPOP", keys.bell, timeout_s, read=lambda reply: reply is not None)


def count_malformed(keys: QueueKeys, count: int) -> Call[int]:
    """Count what was set aside."""
    return plain("HINCRBY", keys.counters, "malformed", count, read=int)


def add_queue(namespace: str, queue: str) -> Call[int]:
    """Make a queue known; written before its first job."""
    return plain("SADD", queues_key(namespace), queue, read=int)


def leases(keys: QueueKeys) -> Call[list[str]]:
    """The newest 1,000 leases of a queue."""
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
