"""A lease lasts as long as it is renewed, delivers interrupts, and is removed only when it holds no job."""

from __future__ import annotations

import pytest

from oneshot_queue.spec import Priority
from oneshot_queue.store import leases
from oneshot_queue.store.keys import GROUP
from oneshot_queue.store.leases import Intent, LeaseLost, Renewed, worker_of
from tests.support.builders import Store, a_lease, a_spec


async def end_of(store: Store, lease: str) -> float | None:
    end: float | None = await store.redis.zscore(store.keys.workers, lease)
    return end


async def consumers(store: Store, priority: Priority = Priority.NORMAL) -> list[str]:
    rows = await store.redis.xinfo_consumers(store.keys.ready(priority), GROUP)
    return sorted(row["name"].decode() for row in rows)


async def server_ms(store: Store) -> int:
    seconds, micros = await store.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def test_lease_ends_after_its_length_by_the_servers_clock(store: Store) -> None:
    before = await server_ms(store)

    now_ms = await store.run(leases.register(store.keys, "w.1", 30.0))

    assert before <= now_ms <= await server_ms(store)
    assert await end_of(store, "w.1") == now_ms + 30_000


async def test_renewal_moves_the_end(store: Store) -> None:
    lease = await store.lease()
    await store.redis.zadd(store.keys.workers, {lease: 1})

    renewed = await store.run(leases.renew(store.keys, lease, 60.0))

    assert isinstance(renewed, Renewed)
    assert await end_of(store, lease) == renewed.now_ms + 60_000


@pytest.mark.parametrize("lease", ["never-there.1", "", " "])
async def test_renewal_never_restores_a_lost_lease(store: Store, lease: str) -> None:
    await store.lease()
    before = await store.dump()

    assert await store.run(leases.renew(store.keys, lease, 30.0)) == LeaseLost()

    assert await store.dump() == before


async def test_condemned_lease_is_lost(store: Store) -> None:
    lease = await store.lease()
    await store.redis.zrem(store.keys.workers, lease)

    assert await store.run(leases.renew(store.keys, lease, 30.0)) == LeaseLost()

    assert await end_of(store, lease) is None


async def test_renewal_changes_only_the_end_of_its_lease(store: Store) -> None:
    held = await store.running()
    before = await store.dump()

    await store.run(leases.renew(store.keys, held.holder.lease, 30.0))

    after = await store.dump()
    before.pop("workers"), after.pop("workers")
    assert after == before


async def test_malformed_intents_are_counted_and_the_others_arrive(store: Store) -> None:
    lease = await store.lease()
    foreign = {"a": "", "b": "1", "c": "1 x", "d": "x 1", "e": "1 -1", "f": "9" * 100, "g": "1 1 1", "h": b"\xff\xfe"}
    await store.redis.hset(store.keys.intents(lease), mapping={**foreign, "good": "3 1500"})

    renewed = await store.run(leases.renew(store.keys, lease, 30.0))

    assert isinstance(renewed, Renewed)
    assert (renewed.intents, renewed.malformed) == ((Intent("good", 3, 1.5),), len(foreign))


async def test_renewal_returns_any_number_of_intents(store: Store) -> None:
    lease = await store.lease()
    await store.redis.hset(store.keys.intents(lease), mapping={f"job{number}": "1 -" for number in range(5_000)})

    renewed = await store.run(leases.renew(store.keys, lease, 30.0))

    assert isinstance(renewed, Renewed)
    assert len(renewed.intents) == 5_000


async def test_lease_that_holds_a_job_is_not_unregistered(store: Store) -> None:
    for priority in Priority:
        lease = await store.lease()
        held = await store.running(a_spec(priority=priority), lease=lease)
        before = await store.dump()

        assert await store.run(leases.unregister(store.keys, lease)) is False
        assert await store.dump() == before

        await store.finish(held)
        assert await store.run(leases.unregister(store.keys, lease)) is True


async def test_unregister_removes_the_lease_its_consumers_and_its_intents(store: Store) -> None:
    lease, other = await store.lease(), await store.lease()
    for priority in (Priority.NORMAL, Priority.LOW):
        await store.running(a_spec(priority=priority), lease=other)
        await store.finish(await store.running(a_spec(priority=priority), lease=lease))
    await store.redis.hset(store.keys.intents(lease), "old", "1 -")
    await store.redis.delete(store.keys.bell)

    assert await store.run(leases.unregister(store.keys, lease)) is True

    assert await end_of(store, lease) is None
    assert [await consumers(store, each) for each in (Priority.NORMAL, Priority.LOW)] == [[other], [other]]
    assert not await store.redis.exists(store.keys.intents(lease))
    assert await store.redis.llen(store.keys.bell) == 1


async def test_lease_of_a_queue_without_streams_is_unregistered(store: Store) -> None:
    lease = await store.lease()

    assert await store.run(leases.unregister(store.keys, lease)) is True

    assert await store.key_names() == {"bell"}


async def test_unknown_lease_is_unregistered_without_effect(store: Store) -> None:
    held = await store.running()

    assert await store.run(leases.unregister(store.keys, a_lease())) is True

    assert await store.pending() == [(held.id, held.holder.lease)]


async def test_leases_are_listed_latest_end_first(store: Store) -> None:
    await store.redis.zadd(store.keys.workers, {"old.1": 1, "new.1": 2})

    assert await store.run(leases.leases(store.keys)) == ["new.1", "old.1"]


def test_lease_names_its_worker() -> None:
    assert worker_of("0123abcd.17") == "0123abcd"


async def test_malformed_interrupts_are_counted(store: Store) -> None:
    await store.run(leases.count_malformed(store.keys, 3))

    assert await store.redis.hgetall(store.keys.counters) == {b"malformed": b"3"}
