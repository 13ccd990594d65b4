"""An entry without a readable job is quarantined and counted, and the jobs behind it run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.claims import Claimed
from oneshot_queue.store.keys import GROUP
from tests.support.builders import LONG_NAME, Store, a_job_id, a_long_spec

Poison = Callable[[Store], Awaitable[object]]


def entry(**fields: str | bytes) -> Poison:
    """An entry that another program wrote."""
    return lambda store: store.redis.xadd(store.keys.ready(Priority.NORMAL), fields)


def damaged(**fields: str) -> Poison:
    """A job whose hash was changed."""

    async def damage(store: Store) -> None:
        job_id = await store.enqueue()
        await store.redis.hset(store.keys.job(job_id), mapping=fields)

    return damage


def without(*fields: str) -> Poison:
    """A job whose hash lacks fields."""

    async def damage(store: Store) -> None:
        job_id = await store.enqueue()
        await store.redis.hdel(store.keys.job(job_id), *fields)

    return damage


def replaced(name: str) -> Poison:
    """A job with a key of the wrong type."""

    async def damage(store: Store) -> None:
        key = getattr(store.keys, name)(await store.enqueue(a_long_spec(stdin=b"x"), by=LONG_NAME))
        await store.redis.delete(key)
        await (store.redis.set(key, "x") if name == "job" else store.redis.sadd(key, "x"))

    return damage


async def forgotten(store: Store) -> None:
    await store.redis.delete(store.keys.job(await store.enqueue()))


def oversized(key: str) -> Poison:
    """A job that is larger than the limits allow."""

    async def poison(store: Store) -> None:
        job_id = await store.enqueue(a_long_spec(stdin=b"x"))
        await store.redis.set(getattr(store.keys, key)(job_id), b"x" * 2_000_000)

    return poison


POISONS: dict[str, Poison] = {
    "another field": entry(name="x"),
    "two fields": entry(id="abcd", extra="x"),
    "an empty id": entry(id=""),
    "an id of 300 characters": entry(id="a" * 300),
    "an id of a megabyte": entry(id="a" * 1_000_000),
    "an id with a newline": entry(id="abcd\nefgh"),
    "an id with braces": entry(id="{other}:job:x"),
    "an id with a glob": entry(id="*"),
    "an id that is no text": entry(id=b"\xff\x00\xfe"),
    "twenty thousand fields": entry(**{f"f{number}": "z" * 200 for number in range(20_000)}),
    "an unknown id": entry(id="abcdabcdabcdabcd"),
    "a job that is gone": forgotten,
    "a job key of another type": replaced("job"),
    "a spec of another type": replaced("spec"),
    "a stdin of another type": replaced("stdin"),
    "a spec of two megabytes": oversized("spec"),
    "a stdin of two megabytes": oversized("stdin"),
    "a history of another type": replaced("text"),
    "no state": without("state"),
    "an unknown state": damaged(state="BOGUS"),
    "an attempt that is no number": damaged(attempt="x"),
    "an attempt beyond all numbers": damaged(attempt="9" * 40),
    "no attempt": without("attempt"),
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
async def test_poison_is_quarantined_and_the_jobs_around_it_are_claimed(store: Store, poison: Poison) -> None:
    lease = await store.lease()
    first = await store.enqueue()
    await poison(store)
    second = await store.enqueue()

    answer = await store.claimed(lease, free=5)

    assert ([claim.job_id for claim in answer.claims], answer.set_aside) == ([first, second], 1)
    assert await store.pending() == [(first, lease), (second, lease)]
    assert await store.length() == 2
    assert await store.redis.hget(store.keys.counters, "malformed") == b"1"
    (entry,) = await store.redis.lrange(store.keys.quarantine, 0, -1)
    assert 0 < len(entry) <= 1_000


async def test_entry_with_the_jobs_entry_id_in_another_stream_is_not_its_own(store: Store) -> None:
    lease = await store.lease()
    job_id = await store.enqueue()
    ((own, _),) = await store.redis.xrange(store.keys.ready(Priority.NORMAL))
    for priority in (Priority.HIGH, Priority.LOW):
        await store.redis.xadd(store.keys.ready(priority), {"id": job_id}, id=own)

    assert [claim.job_id for claim in await store.claim(lease, free=5)] == [job_id]
    assert [await store.redis.xlen(store.keys.ready(priority)) for priority in Priority] == [0, 1, 0]


async def test_quarantine_keeps_the_newest_1000(store: Store) -> None:
    await store.redis.rpush(store.keys.quarantine, *range(1_000))
    await entry(foreign="newest")(store)

    await store.claimed(await store.lease())

    rows = await store.redis.lrange(store.keys.quarantine, 0, -1)
    assert len(rows) == 1_000
    assert b"newest" in rows[0]
    assert rows[-1] == b"998"


async def test_one_claim_reads_at_most_200_entries_and_wakes_the_next(store: Store) -> None:
    lease = await store.lease()
    async with store.redis.pipeline(transaction=False) as pipeline:
        for _ in range(230):
            pipeline.xadd(store.keys.ready(Priority.NORMAL), {"foreign": "x"})
        await pipeline.execute()
    job_id = await store.enqueue()
    await store.redis.delete(store.keys.bell)

    first = await store.claimed(lease)
    rings = await store.redis.llen(store.keys.bell)
    second = await store.claimed(lease)

    assert (first, rings) == (Claimed((), 200), 1)
    assert ([claim.job_id for claim in second.claims], second.set_aside) == ([job_id], 30)


@pytest.mark.parametrize(
    "poison",
    [damaged(attempt="x"), without("attempt"), without("priority"), without("entry"), damaged(entry="x")],
    ids=["an attempt that is no number", "no attempt", "no priority", "no entry", "an entry that is none"],
)
async def test_damaged_job_that_is_claimed_by_its_id_is_not_changed(store: Store, poison: Poison) -> None:
    lease = await store.lease()
    await poison(store)
    (job_id,) = [name.removeprefix("job:") for name in await store.key_names() if name.startswith("job:")]
    before = await store.dump()

    answer = await store.claim_one(job_id, lease)

    assert answer == Claimed((), 0)
    assert await store.state_of(job_id) == JobState.CREATED
    after = await store.dump()
    after.pop("ready:normal"), before.pop("ready:normal")
    assert after == before


async def test_damaged_pending_entries_do_not_stop_a_reclaim(store: Store) -> None:
    lease = await store.lease()
    held = await store.running(lease=lease)
    replaced_job, replaced_spec = await store.running(lease=lease), await store.running(a_long_spec(), lease=lease)
    for key in (store.keys.job(replaced_job.id), store.keys.spec(replaced_spec.id)):
        await store.redis.delete(key)
        await store.redis.sadd(key, "x")
    for fields in ({"attempt": "x"}, {"attempt": "9" * 40}, {"token": "x"}):
        await store.redis.hset(store.keys.job((await store.running(lease=lease)).id), mapping=fields)
    foreign = await store.redis.xadd(store.keys.ready(Priority.NORMAL), {"a": "b", "c": "d"})
    await store.redis.xclaim(store.keys.ready(Priority.NORMAL), GROUP, lease, 0, [foreign], force=True)

    again = await store.reclaim(lease)

    assert [claim.job_id for claim in again] == [held.id]


async def test_claim_of_a_job_without_a_spec_returns_an_empty_spec(store: Store) -> None:
    """The worker then rejects the job, so that it ends with an error that its owner can read."""
    job_id = await store.enqueue(a_long_spec(), job_id=a_job_id())
    await store.redis.delete(store.keys.spec(job_id))

    (claim,) = await store.claim(await store.lease())

    assert (claim.job_id, claim.spec) == (job_id, b"")
