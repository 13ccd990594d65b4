"""Ways to damage a queue by hand. Each returns the codes of the findings that the doctor must report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.enqueue import When
from oneshot_queue.store.keys import GROUP
from tests.support.builders import Held, Store, a_job_id, a_long_spec, an_outcome

Damage = Callable[[Store], Awaitable[set[str]]]


def stream_of(store: Store) -> str:
    return store.keys.ready(Priority.NORMAL)


async def entry_of(store: Store, job_id: str) -> str:
    entry: bytes = await store.redis.hget(store.keys.job(job_id), "entry")
    return entry.decode()


async def with_output(store: Store) -> Held:
    held = await store.running(a_long_spec())
    await store.finish(held, an_outcome(), inline_output=b"x" * 100, kept=100)
    return held


async def group_deleted(store: Store) -> set[str]:
    held = await store.running()
    assert await store.redis.xgroup_destroy(stream_of(store), GROUP) == 1
    assert await store.state_of(held.id) == "RUNNING"
    return {"running-without-entry"}


async def record_deleted(store: Store) -> set[str]:
    job_id = await store.enqueue()
    await store.redis.delete(store.keys.job(job_id))
    return {"entry-without-job", "index-ghost"}


async def entry_deleted(store: Store) -> set[str]:
    job_id = await store.enqueue()
    assert await store.redis.xdel(stream_of(store), await entry_of(store, job_id)) == 1
    return {"job-without-entry"}


async def entry_forgotten(store: Store) -> set[str]:
    job_id = await store.enqueue()
    await store.redis.hdel(store.keys.job(job_id), "entry")
    return {"entry-too-many", "job-without-entry"}


async def handed_to_a_stranger(store: Store) -> set[str]:
    await store.enqueue()
    await store.redis.xgroup_create(stream_of(store), GROUP, "0")
    assert await store.redis.xreadgroup(GROUP, "gone.1", {stream_of(store): ">"})
    return {"lease-unknown", "job-without-entry"}


async def entry_written_twice(store: Store) -> set[str]:
    job_id = await store.enqueue()
    await store.redis.xadd(stream_of(store), {"id": job_id})
    return {"entry-too-many"}


async def stray_entry(store: Store) -> set[str]:
    await store.redis.xadd(stream_of(store), {"command": "\x1b[31mrm"})
    return {"stray-entry"}


async def consumer_deleted(store: Store) -> set[str]:
    held = await store.running()
    assert await store.redis.xgroup_delconsumer(stream_of(store), GROUP, held.holder.lease) == 1
    return {"running-without-entry"}


async def running_entry_deleted(store: Store) -> set[str]:
    held = await store.running()
    assert await store.redis.xdel(stream_of(store), await entry_of(store, held.id)) == 1
    return {"running-without-entry"}


async def lease_forgotten(store: Store) -> set[str]:
    held = await store.running()
    await store.interrupt(held.id)
    assert await store.redis.zrem(store.keys.workers, held.holder.lease) == 1
    return {"lease-unknown", "running-without-lease"}


async def lease_and_consumer_forgotten(store: Store) -> set[str]:
    held = await store.in_state(JobState.IDLE)
    assert await store.redis.xgroup_delconsumer(stream_of(store), GROUP, held.holder.lease) == 1
    await store.redis.zrem(store.keys.workers, held.holder.lease)
    await store.redis.hdel(f"{store.keys.prefix}:terms", held.holder.lease)
    return {"running-without-lease"}


async def no_lease_named(store: Store) -> set[str]:
    held = await store.running()
    await store.redis.hdel(store.keys.job(held.id), "lease")
    return {"running-without-lease"}


async def lease_long_over(store: Store) -> set[str]:
    held = await store.running()
    await store.redis.zadd(store.keys.workers, {held.holder.lease: 1})
    return {"lease-over"}


async def half_swept(store: Store) -> set[str]:
    held = await store.running()
    await store.redis.zadd(store.keys.workers, {held.holder.lease: 0})
    return {"lease-condemned", "running-without-lease"}


async def ghosts_in_indexes(store: Store) -> set[str]:
    ended = await with_output(store)
    await store.redis.zadd(store.keys.state(JobState.RUNNING), {ended.id: 1, "{x}:y z": 1})
    gone = await with_output(store)
    await store.redis.delete(store.keys.job(gone.id))
    await store.redis.zadd(store.keys.delayed, {ended.id: 9e12, "nosuchjob": 9e12})
    await store.redis.zadd(f"{store.keys.prefix}:expiring", {ended.id: 9e12})
    return {"index-ghost", "delayed-ghost", "expiring-ghost"}


async def in_no_index(store: Store) -> set[str]:
    waiting, ended = await store.enqueue(), await with_output(store)
    later = await store.enqueue(when=When(delay_s=1000.0))
    for state, job_id in ((JobState.CREATED, waiting), (JobState.COMPLETED, ended.id), (JobState.CREATED, later)):
        assert await store.redis.zrem(store.keys.state(state), job_id) == 1
    return {"job-in-no-index"}


async def clock_forgotten(store: Store) -> set[str]:
    due_forgotten = await store.enqueue(when=When(delay_s=1000.0))
    await store.redis.hdel(store.keys.job(due_forgotten), "due")
    delay_forgotten = await store.enqueue(when=When(delay_s=1000.0))
    await store.redis.zrem(store.keys.delayed, delay_forgotten)
    await store.enqueue(when=When(expires_s=1000.0))
    await store.redis.delete(f"{store.keys.prefix}:expiring")
    return {"delayed-without-due", "delay-forgotten", "expiry-forgotten"}


async def sum_changed(store: Store) -> set[str]:
    await with_output(store)
    await store.redis.hincrby(store.keys.counters, "kept", 1_000_000)
    return {"total-wrong"}


async def output_of_nobody(store: Store) -> set[str]:
    await with_output(store)
    await store.redis.hset(f"{store.keys.prefix}:kept", a_job_id(), 5)
    await store.redis.hincrby(store.keys.counters, "kept", 5)
    return {"kept-ghost"}


async def made_to_last(store: Store) -> set[str]:
    ended = await with_output(store)
    for key in (store.keys.job(ended.id), store.keys.spec(ended.id), store.keys.output_head(ended.id, 1)):
        assert await store.redis.persist(key)
    return {"lasting-job"}


async def unknown_length(store: Store) -> set[str]:
    await store.redis.hset(f"{store.keys.prefix}:terms", "gone.7", "30000")
    await store.redis.hset(store.keys.intents("gone.7"), "nosuchjob", "1 -")
    return {"lease-unknown"}


REPAIRABLE: tuple[Damage, ...] = (
    group_deleted,
    record_deleted,
    entry_deleted,
    entry_forgotten,
    handed_to_a_stranger,
    entry_written_twice,
    stray_entry,
    consumer_deleted,
    running_entry_deleted,
    lease_forgotten,
    lease_and_consumer_forgotten,
    no_lease_named,
    lease_long_over,
    half_swept,
    ghosts_in_indexes,
    in_no_index,
    clock_forgotten,
    sum_changed,
    output_of_nobody,
    made_to_last,
    unknown_length,
)


async def bogus_state(store: Store) -> set[str]:
    await store.redis.hset(store.keys.job(await store.enqueue()), "state", "BOGUS")
    return {"unreadable-job"}


async def missing_fields(store: Store) -> set[str]:
    await store.redis.hdel(store.keys.job(await store.enqueue()), "attempt", "priority")
    return {"unreadable-job"}


async def record_of_another_type(store: Store) -> set[str]:
    job_id = await store.enqueue()
    await store.redis.delete(store.keys.job(job_id))
    await store.redis.set(store.keys.job(job_id), "x")
    return {"unreadable-job"}


async def spec_of_another_type(store: Store) -> set[str]:
    job_id = await store.enqueue(a_long_spec())
    await store.redis.delete(store.keys.spec(job_id))
    await store.redis.rpush(store.keys.spec(job_id), "x")
    return {"unreadable-job"}


async def survivors(store: Store) -> set[str]:
    ended = await store.finished()
    await store.redis.hset(store.keys.job(ended.id), "survivors", 2)
    return {"survivors"}


async def no_number(store: Store) -> set[str]:
    await store.redis.hset(store.keys.counters, mapping={"kept": "many", "malformed": "some"})
    return {"counter-wrong"}


def another_type(name: str) -> Damage:
    async def damage(store: Store) -> set[str]:
        await store.enqueue()
        key = f"{store.keys.prefix}:{name}"
        await store.redis.delete(key)
        put: Any = store.redis.rpush if name in ("epoch", "sweeper") else store.redis.set
        await put(key, "x")
        return {"wrong-type"}

    damage.__name__ = f"{name.replace(':', '_')}_of_another_type"
    return damage


TYPED = ("ready:normal", "delayed", "expiring", "workers", "terms", "state:CREATED", "kept", "counters", "quarantine")
NOT_REPAIRABLE: tuple[Damage, ...] = (
    bogus_state,
    missing_fields,
    record_of_another_type,
    spec_of_another_type,
    survivors,
    no_number,
    *(another_type(name) for name in (*TYPED, "sweeper", "bell")),
)
"""Damage that is not safe to repair automatically."""
