"""A namespace is erased whole, and nothing of another."""

from __future__ import annotations

import pytest

from oneshot_queue.store.keys import presence_key, queues_key
from oneshot_queue.store.retention import erase_common, erase_queue
from tests.support.builders import Store


@pytest.mark.parametrize("jobs", [0, 1, 1_200])
async def test_all_keys_of_a_queue_go_and_no_others(store: Store, jobs: int) -> None:
    await store.enqueue_many(jobs)
    others = [f"{store.keys.prefix}x:bell", f"{{{store.keys.namespace}:another}}:bell", store.keys.prefix]
    for other in others:
        await store.redis.set(other, "kept")

    cursor, calls = "", 0
    while cursor != "0":
        cursor = await store.connection.run(erase_queue(store.keys, cursor or "0"))
        calls += 1

    assert [key async for key in store.redis.scan_iter(match=f"{store.keys.prefix}:*", count=1_000)] == []
    assert await store.redis.exists(*others) == len(others)
    assert calls > 1 or jobs < 500


async def test_all_keys_of_no_queue_go(store: Store) -> None:
    namespace = store.keys.namespace
    await store.redis.sadd(queues_key(namespace), "some")
    await store.redis.set(presence_key(namespace, "w"), b"-")

    cursor = ""
    while cursor != "0":
        cursor = await store.connection.run(erase_common(namespace, cursor or "0"))

    assert await store.redis.exists(queues_key(namespace), presence_key(namespace, "w")) == 0
