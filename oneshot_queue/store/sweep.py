"""Deciding for workers that are gone, as calls: who sweeps, which leases there are, and what becomes of their jobs."""

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
"""The states whose indexes are audited: those that somebody has to lead out of."""


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A registered lease at one instant.

    Attributes:
        ends: Its end as it is stored, to be compared with an earlier one and nothing else; "0" is condemned.
        length_s: How long it lasts without a renewal; 0 where nobody said.
    """

    id: str
    ends: str
    length_s: float


@dataclass(frozen=True, slots=True)
class Swept:
    """What a step of a sweep decided, and whether there may be more."""

    decided: int
    is_done: bool


@dataclass(frozen=True, slots=True)
class Spared:
    """Nothing was decided: the lease was renewed, or is gone already."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A part of an index: how many jobs it held, how many were mended, and ``(id, lease)`` of those nobody may hold."""

    count: int
    repaired: int
    suspects: tuple[tuple[str, str], ...]


def watch(keys: QueueKeys, lease: str, *, turn_s: float) -> Call[tuple[LeaseSeen, ...] | None]:
    """Be the queue's one sweeper for ``turn_s`` seconds and see its leases; answers ``None`` if another is."""

    def read(reply: Any) -> tuple[LeaseSeen, ...] | None:
        if reply[0] == b"other":
            return None
        rows = zip(reply[1::3], reply[2::3], reply[3::3], strict=True)
        return tuple(LeaseSeen(text(lease_id), text(ends), int(ms) / 1000) for lease_id, ends, ms in rows)

    return scripted("watch", (keys.prefix, keys.workers), (lease, round(turn_s * 1000)), read)


def condemn(keys: QueueKeys, lease: str) -> Call[int]:
    """Tell whoever holds a lease that it is lost, before its jobs are looked at; refused while memory is full."""
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
) -> Call[Swept | Spared]:
    """Decide at most 100 jobs of a lease; repeated until it is done.

    Args:
        seen: The end that it had all the time; ``None`` if its worker is known to be dead.
        error: What happened, for people.
        spread: Where in ``[0.5, 1.0]`` of a retry's delay to land.
        is_confirmed: Whether the processes of its jobs are known to be gone.
    """

    def read(reply: Any) -> Swept | Spared:
        return Swept(int(reply[1]), reply[2] == 0) if reply[0] == b"swept" else Spared()

    args = (lease, seen or "", field(by), one_line(error), spread, int(is_confirmed), keep_failed_ms(settings))
    return scripted("sweep", (keys.prefix, keys.workers, keys.intents(lease)), args, read)


def audit(keys: QueueKeys, state: JobState, start: int) -> Call[Audited]:
    """Look through ``AUDIT_BATCH`` jobs of a state's index and mend what is beyond doubt."""

    def read(reply: Any) -> Audited:
        suspects = zip(reply[3::2], reply[4::2], strict=True)
        return Audited(int(reply[1]), int(reply[2]), tuple((text(each), text(lease)) for each, lease in suspects))

    return scripted("audit", keys.queue_keys, (state, start), read)


def decide(
    keys: QueueKeys, job_id: str, lease: str, *, by: str, error: str, spread: float, settings: Settings
) -> Call[bool]:
    """Decide one job that was seen without a registered lease; answers false if it was not so any more."""
    args = (job_id, lease, field(by), one_line(error), spread, keep_failed_ms(settings))
    call: Call[bool] = scripted(
        "decide", (keys.prefix, keys.job(job_id)), args, lambda reply: bool(reply[0] == b"decided")
    )
    return call
