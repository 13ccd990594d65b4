"""Calls that settle the jobs of workers that are gone, and repair what no worker would find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call, plain, scripted, text
from oneshot_queue.store.fields import field, one_line
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.retention import keep_failed_ms

AUDIT_BATCH: Final = 100
AUDITED: Final = (JobState.RUNNING, JobState.IDLE, JobState.CREATED)
"""The states whose indexes are audited: a job stays in one of these until a worker moves it on."""


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A registered lease at one moment.

    Attributes:
        ends: Its end as stored, only to be compared with an earlier value; "0" means condemned.
        length_s: Seconds it lasts without a renewal; 0 if unknown.
    """

    id: str
    ends: str
    length_s: float


@dataclass(frozen=True, slots=True)
class Swept:
    """How many jobs one call settled, and whether none is left."""

    settled: int
    is_done: bool


@dataclass(frozen=True, slots=True)
class NotSwept:
    """No job was settled: the lease was renewed, or is gone already."""


@dataclass(frozen=True, slots=True)
class Audited:
    """One page of an index: jobs checked, jobs repaired, and ``(id, lease)`` of running ones without a live lease."""

    count: int
    repaired: int
    suspects: tuple[tuple[str, str], ...]


def watch(keys: QueueKeys, lease: str, *, turn_s: float) -> Call[tuple[LeaseSeen, ...] | None]:
    """Take or keep the queue's sweeper role for ``turn_s`` seconds and list its leases; ``None`` if it is taken."""

    def read(reply: Any) -> tuple[LeaseSeen, ...] | None:
        if reply[0] == b"other":
            return None
        rows = zip(reply[1::3], reply[2::3], reply[3::3], strict=True)
        return tuple(LeaseSeen(text(lease_id), text(ends), int(ms) / 1000) for lease_id, ends, ms in rows)

    return scripted("watch", (keys.prefix, keys.workers), (lease, round(turn_s * 1000)), read)


def condemn(keys: QueueKeys, lease: str) -> Call[int]:
    """Condemn a lease, so that its worker learns of the loss before its jobs are swept. Refused when memory is full."""
    return plain("ZADD", keys.workers, "XX", 0, lease, read=int)


def sweep(
    keys: QueueKeys,
    lease: str,
    *,
    seen: str | None,
    by: str,
    error: str,
    spread: float,
    is_confirmed: bool,
    settings: Settings,
) -> Call[Swept | NotSwept]:
    """Settle at most 100 jobs of a lease. Repeat it until ``is_done``.

    Args:
        seen: The end that it had for its full length; ``None`` if its worker is known to be dead.
        by: Name of the worker that sweeps, for the history.
        error: Error text for users.
        spread: Fraction of a retry's full delay to wait, in ``[0.5, 1.0]``.
        is_confirmed: Whether the processes of its jobs are known to have ended.
    """

    def read(reply: Any) -> Swept | NotSwept:
        return Swept(int(reply[1]), reply[2] == 0) if reply[0] == b"swept" else NotSwept()

    args = (lease, seen or "", field(by), one_line(error), spread, int(is_confirmed), keep_failed_ms(settings))
    return scripted("sweep", (keys.prefix, keys.workers, keys.intents(lease)), args, read)


def audit(keys: QueueKeys, state: JobState, start: int) -> Call[Audited]:
    """Check ``AUDIT_BATCH`` jobs of a state's index from rank ``start``, and repair what is safe to repair."""

    def read(reply: Any) -> Audited:
        suspects = zip(reply[3::2], reply[4::2], strict=True)
        return Audited(int(reply[1]), int(reply[2]), tuple((text(each), text(lease)) for each, lease in suspects))

    return scripted("audit", keys.queue_keys, (state, start), read)


def settle(
    keys: QueueKeys, job_id: str, lease: str, *, by: str, error: str, spread: float, settings: Settings
) -> Call[bool]:
    """Settle one job whose lease is not registered; answers false if that has changed, or the job has another lease.

    Args:
        lease: Lease under which the job was seen; ``''`` if it had none.
    """
    args = (job_id, lease, field(by), one_line(error), spread, keep_failed_ms(settings))
    call: Call[bool] = scripted(
        "settle", (keys.prefix, keys.job(job_id)), args, lambda reply: bool(reply[0] == b"settled")
    )
    return call
