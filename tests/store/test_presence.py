"""A worker's presence is published under a key that expires; a malformed one counts as none."""

from __future__ import annotations

import pytest

from oneshot_queue.store.keys import presence_key
from oneshot_queue.store.presence import PRESENCE_TTL_S, end_presence, presences, show_presence
from oneshot_queue.wire.presences import pack_presence
from tests.support.builders import Store, a_presence


async def test_presence_expires_and_can_be_removed(store: Store) -> None:
    namespace, presence = store.keys.namespace, a_presence()

    await store.run(show_presence(namespace, presence))

    assert await store.run(presences(namespace, ["unknown", "w"])) == [presence]
    assert 0 < await store.redis.ttl(presence_key(namespace, "w")) <= PRESENCE_TTL_S
    await store.run(end_presence(namespace, "w"))
    assert await store.run(presences(namespace, ["w"])) == []


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x01", b"\x02\x80", b"\x01\xc1", b"x" * 300_000, b"\x01\x80"])
async def test_malformed_presence_counts_as_none(store: Store, raw: bytes) -> None:
    namespace = store.keys.namespace
    await store.redis.set(presence_key(namespace, "bad"), raw, ex=60)
    await store.redis.set(presence_key(namespace, "w"), pack_presence(a_presence()), ex=60)

    workers = await store.run(presences(namespace, ["bad", "w"]))

    assert [worker.id for worker in workers] == ["w"]


async def test_presence_key_of_another_type_counts_as_none(store: Store) -> None:
    namespace = store.keys.namespace
    await store.redis.hset(presence_key(namespace, "bad"), "x", "y")

    assert await store.run(presences(namespace, ["bad"])) == []
