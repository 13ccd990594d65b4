"""From waiting to held and back, as calls: claiming, reading claims back, returning what never began, adopting."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.settings import Settings
from oneshot_queue.store.attempts import Fenced, Holder, Recorded, Refused, read_recorded
from oneshot_queue.store.calls import Call, Word, scripted, text
from oneshot_queue.store.fields import field
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.retention import keep_failed_ms

MAX_CLAIM: Final = 100
"""Most jobs of one claim."""

MAX_CLAIM_BYTES: Final = 1_048_576
MAX_RETURNS: Final = 5
"""So often a job may be claimed and its worker be lost before it begins; then it ends as poison."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One job that now is this lease's to run. ``spec`` and ``stdin`` are as hostile as whoever wrote them."""

    job_id: str
    attempt: int
    token: str
    spec: bytes
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought, and how many malformed entries it set aside on the way."""

    claims: tuple[Claim, ...]
    set_aside: int


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing to claim yet: the job is not due, or the workers still tell a server that crashed what they run."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is gone; its jobs are no longer this worker's."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The job waits again; it had not begun."""


def claim(
    keys: QueueKeys, *, lease: str, worker: str, host: str, free: int, settings: Settings, run_id: str = ""
) -> Call[Claimed | Later | Lost]:
    """Take up to ``free`` waiting jobs. Never repeat it: a lost reply may have been a claim.

    Args:
        run_id: Of the server, if it is known: a server that is new to the queue may have forgotten its last writes.
    """
    who = (lease, field(worker), field(host))
    args: tuple[Word, ...] = (
        *who,
        free,
        MAX_CLAIM_BYTES,
        _seed(min(free, MAX_CLAIM)),
        run_id,
        keep_failed_ms(settings),
    )
    return scripted("claim", keys.queue_keys, args, _claimed)


def claim_one(
    keys: QueueKeys, job_id: str, *, lease: str, worker: str, host: str, settings: Settings, run_id: str = ""
) -> Call[Claimed | Later | Lost]:
    """Take exactly this job, if it still waits."""
    args: tuple[Word, ...] = (lease, field(worker), field(host), job_id, _seed(1), keep_failed_ms(settings), run_id)
    return scripted("claim_one", (keys.prefix, keys.job(job_id)), args, _claimed)


def reclaim(keys: QueueKeys, *, lease: str, known: Iterable[str] = ()) -> Call[Claimed | Later | Lost]:
    """What is claimed under this lease, as much as a claim may bring: how a worker learns of one whose reply was lost.

    Args:
        known: Tokens of the jobs to leave out.
    """
    return scripted("reclaim", keys.queue_keys, (lease, MAX_CLAIM_BYTES, *known), _claimed)


def give_back(
    keys: QueueKeys, job_id: str, holder: Holder, *, why: str, is_counted: bool, settings: Settings
) -> Call[Returned | Recorded | Fenced | Refused]:
    """Return a claimed job that never began. Repeated, it answers ``Recorded``.

    Args:
        why: One word for the history.
        is_counted: Whether its worker was lost over it; ``MAX_RETURNS`` of these end the job as poison.
    """

    def read(reply: Any) -> Any:
        return Returned() if reply[0] == b"returned" else read_recorded(reply)

    most: Word = MAX_RETURNS if is_counted else ""
    args = (job_id, holder.token, holder.lease, field(holder.worker), why, most, keep_failed_ms(settings))
    return scripted("give_back", (keys.prefix, keys.job(job_id)), args, read)


def adopt(keys: QueueKeys, job_id: str, holder: Holder, *, attempt: int, host: str, ago_ms: int) -> Call[bool]:
    """Say that this attempt is, or was, being run; answers false if the job is another's now, or has ended."""
    args = (job_id, holder.token, holder.lease, attempt, field(holder.worker), field(host), ago_ms)
    return scripted("adopt", (keys.prefix, keys.job(job_id)), args, lambda reply: bool(reply[0] != b"fenced"))


def _seed(count: int) -> str:
    """Of the tokens of one claim: whoever cannot guess it cannot forge an attempt's mark."""
    return secrets.token_hex(16 * count)


def _claimed(reply: Any) -> Any:
    match reply[0]:
        case b"lost":
            return Lost()
        case b"later":
            return Later(int(reply[1]) / 1000)
    claims = tuple(
        Claim(text(job_id), int(attempt), text(token), spec, stdin) for job_id, attempt, token, spec, stdin in reply[2:]
    )
    return Claimed(claims, int(reply[1]))
