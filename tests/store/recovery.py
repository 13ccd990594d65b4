"""Short calls for what happens to a queue's jobs without their worker, and for reading the results."""

from __future__ import annotations

from typing import Any, Final

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.store import claims, due, leases
from oneshot_queue.store import sweep as sweep_store
from oneshot_queue.store.attempts import Fenced, Recorded, Refused
from oneshot_queue.store.claims import Returned
from oneshot_queue.store.due import Promoted
from oneshot_queue.store.leases import Intent, Renewed
from oneshot_queue.store.sweep import Audited, LeaseSeen, NotSwept, Swept
from tests.support.builders import Held, Store, a_spec

FAILED: Final = Outcome(JobState.FAILED, Cause.EXIT, exit_code=3)
"""A result that may be followed by a retry."""


def a_retried_spec(*, retries: int = 2, delay_s: float = 0.0, **options: Any) -> JobSpec:
    """A job that is retried, also when its worker is lost."""
    return a_spec(retries=retries, retry_delay=delay_s, **options)


async def sweep(
    store: Store, lease: str, *, seen: str | None = None, spread: float = 1.0, is_confirmed: bool = False
) -> Swept | NotSwept:
    """Sweep once."""
    call = sweep_store.sweep(
        store.keys,
        lease,
        seen=seen,
        by="sweeper",
        error="it is gone",
        spread=spread,
        is_confirmed=is_confirmed,
        settings=store.settings,
    )
    return await store.run(call)


async def watch(store: Store, lease: str = "sweeper.1", *, turn_s: float = 60.0) -> tuple[LeaseSeen, ...] | None:
    """Take the sweeper role and list the leases."""
    return await store.run(sweep_store.watch(store.keys, lease, turn_s=turn_s))


async def audit(store: Store, state: JobState, start: int = 0) -> Audited:
    """Audit one page of a state's index."""
    return await store.run(sweep_store.audit(store.keys, state, start))


async def settle(store: Store, job_id: str, lease: str, *, spread: float = 1.0) -> bool:
    """Settle a job that no registered lease holds."""
    call = sweep_store.settle(
        store.keys, job_id, lease, by="sweeper", error="it is gone", spread=spread, settings=store.settings
    )
    return await store.run(call)


async def give_back(
    store: Store, held: Held, *, why: str = "unstarted", is_counted: bool = False
) -> Returned | Recorded | Fenced | Refused:
    """Requeue a job that never began."""
    call = claims.give_back(store.keys, held.id, held.holder, why=why, is_counted=is_counted, settings=store.settings)
    return await store.run(call)


async def adopt(store: Store, held: Held, *, ago_ms: int = 0) -> bool:
    """Report that this attempt is running."""
    call = claims.adopt(store.keys, held.id, held.holder, attempt=held.attempt, host="host", ago_ms=ago_ms)
    return await store.run(call)


async def promote(store: Store) -> Promoted:
    """Promote due jobs and expire late ones."""
    return await store.run(due.promote(store.keys, store.settings))


async def intents(store: Store, lease: str) -> tuple[Intent, ...]:
    """Renew the lease and return the interrupts."""
    answer = await store.run(leases.renew(store.keys, lease, 30.0))
    assert isinstance(answer, Renewed)
    return answer.intents


async def rows(store: Store, job_id: str) -> list[tuple[int, str, str | None]]:
    """Return attempt, state and cause of each row of a job's history."""
    known = await store.record_of(job_id)
    return [(row.attempt, row.state.value, row.cause) for row in known.history]


async def members_of(store: Store, name: str) -> list[str]:
    """Return the members of one of the queue's sorted sets."""
    return [member.decode() for member in await store.redis.zrange(f"{store.keys.prefix}:{name}", 0, -1)]


async def make_due(store: Store, name: str, *job_ids: str) -> None:
    """Move the due times (``delayed``) or start deadlines (``expiring``) of jobs into the past."""
    await store.redis.zadd(f"{store.keys.prefix}:{name}", dict.fromkeys(job_ids, 1))
    field = {"delayed": "due", "expiring": "expires"}[name]
    for job_id in job_ids:
        await store.redis.hset(store.keys.job(job_id), field, 1)


async def names_of(store: Store, word: str) -> set[str]:
    """Return the queue's keys whose name contains the word."""
    return {name for name in await store.key_names() if word in name}
