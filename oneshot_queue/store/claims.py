"""Calls that hand jobs to workers: waiting for work, claiming, reading claims back, requeueing, and adopting."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.settings import Settings
from oneshot_queue.store.attempts import Fenced, Holder, Recorded, Refused, read_recorded
from oneshot_queue.store.calls import Call, Word, plain, scripted, text
from oneshot_queue.store.fields import field
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import LeaseLost
from oneshot_queue.store.retention import keep_failed_ms

MAX_CLAIM: Final = 100
"""Most jobs that one claim may take."""

MAX_CLAIM_BYTES: Final = 1_048_576
"""Bytes of specs and stdin per claim; the job that reaches the limit is the last of its claim."""

MAX_RETURNS: Final = 5
"""How many workers may be lost between claiming a job and starting it; the last of these fails it as poison."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One job that this lease now holds. ``spec`` (packed) and ``stdin`` come from the client and are not trusted."""

    job_id: str
    attempt: int
    token: str
    spec: bytes
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """The jobs that a claim took, and how many malformed entries it quarantined."""

    claims: tuple[Claim, ...]
    set_aside: int


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Nothing to claim for ``wait_s`` seconds: the job is not due, or claiming is paused after a server crash."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Returned:
    """The job is back in its queue; it had not begun."""


def claim(
    keys: QueueKeys, *, lease: str, worker: str, host: str, free: int, settings: Settings, run_id: str = ""
) -> Call[Claimed | RetryLater | LeaseLost]:
    """Claim up to ``free`` waiting jobs. Never repeat it: if the reply was lost, the claim may have been carried out.

    Args:
        run_id: Run id of the server, or ``''``. One that is new to the queue pauses claiming, because the server may
            have lost its last writes.
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
    return scripted("claim", keys.queue_keys, args, _read_claimed)


def claim_one(
    keys: QueueKeys, job_id: str, *, lease: str, worker: str, host: str, settings: Settings, run_id: str = ""
) -> Call[Claimed | RetryLater | LeaseLost]:
    """Claim exactly this job, if it is still waiting."""
    args: tuple[Word, ...] = (lease, field(worker), field(host), job_id, _seed(1), keep_failed_ms(settings), run_id)
    return scripted("claim_one", (keys.prefix, keys.job(job_id)), args, _read_claimed)


def reclaim(keys: QueueKeys, *, lease: str, known: Iterable[str] = ()) -> Call[Claimed | RetryLater | LeaseLost]:
    """Read back what this lease holds, up to the limits of a claim: finds the jobs of a claim whose reply was lost.

    Args:
        known: Tokens of jobs to leave out, because the worker has received them.
    """
    return scripted("reclaim", keys.queue_keys, (lease, MAX_CLAIM_BYTES, *known), _read_claimed)


def give_back(
    keys: QueueKeys, job_id: str, holder: Holder, *, why: str, is_counted: bool, settings: Settings
) -> Call[Returned | Recorded | Fenced | Refused]:
    """Requeue a claimed job that never began. Safe to repeat; then it answers ``Recorded``.

    Args:
        why: One word for the history.
        is_counted: Whether its worker was lost before it began; at ``MAX_RETURNS`` the job fails as poison.
    """

    def read(reply: Any) -> Any:
        return Returned() if reply[0] == b"returned" else read_recorded(reply)

    most: Word = MAX_RETURNS if is_counted else ""
    args = (job_id, holder.token, holder.lease, field(holder.worker), why, most, keep_failed_ms(settings))
    return scripted("give_back", (keys.prefix, keys.job(job_id)), args, read)


def adopt(keys: QueueKeys, job_id: str, holder: Holder, *, attempt: int, host: str, ago_ms: int) -> Call[bool]:
    """Report an attempt to a server that may have lost its claim; answers false if the attempt is no longer current.

    Args:
        ago_ms: Milliseconds since the attempt started.
    """
    args = (job_id, holder.token, holder.lease, attempt, field(holder.worker), field(host), ago_ms)
    return scripted("adopt", (keys.prefix, keys.job(job_id)), args, lambda reply: bool(reply[0] != b"fenced"))


def ring(keys: QueueKeys) -> Call[int]:
    """Wake one idle worker."""
    return plain("RPUSH", keys.bell, "1", read=int)


def wait_for_bell(keys: QueueKeys, timeout_s: float) -> Call[bool]:
    """Block until the bell rings; answers false after ``timeout_s`` seconds. Needs a connection of its own."""
    return plain("BLPOP", keys.bell, timeout_s, read=lambda reply: reply is not None)


def _seed(count: int) -> str:
    """Return random hex digits for the tokens of one claim. Tokens that can be guessed would let others forge them."""
    return secrets.token_hex(16 * count)


def _read_claimed(reply: Any) -> Any:
    match reply[0]:
        case b"lost":
            return LeaseLost()
        case b"later":
            return RetryLater(int(reply[1]) / 1000)
    claims = tuple(
        Claim(text(job_id), int(attempt), text(token), spec, stdin) for job_id, attempt, token, spec, stdin in reply[2:]
    )
    return Claimed(claims, int(reply[1]))
