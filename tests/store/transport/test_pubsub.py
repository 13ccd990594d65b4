"""A subscriber reconnects after any failure, reports what it may have missed, and never reconnects in a busy loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from oneshot_queue.store.transport import pubsub
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.pubsub import Announcements, Subscription
from tests.support.builders import Store, a_queue
from tests.support.limits import limit_s
from tests.support.servers import Server, ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Wire


async def test_subscribers_are_notified_when_the_server_comes_back(
    real_server: ServerProcess, real_store: Store, fast_watchdog: None
) -> None:
    async with listening(real_server.url) as (announcements, subscription):
        await announcements.subscribe(subscription, ["news"])
        await received(subscription)
        real_server.kill()
        await received(subscription)
        real_server.start()
        await received(subscription)

        await eventually(lambda: real_store.redis.publish("news", "now"), what="a subscriber")
        assert await received(subscription) == [("news", b"now")]


async def test_frozen_server_is_detected_although_it_gives_no_error(
    real_server: ServerProcess, real_store: Store, fast_watchdog: None
) -> None:
    async with listening(real_server.url) as (announcements, subscription):
        await announcements.subscribe(subscription, ["news"])
        await received(subscription)

        real_server.pause()
        try:
            assert await received(subscription) == []
        finally:
            real_server.resume()


async def test_silent_connection_is_replaced(server: Server, store: Store, fast_watchdog: None, tmp_path: Path) -> None:
    channel = f"{store.keys.prefix}:news"
    with Wire(Path(server.url.removeprefix("unix://")), tmp_path / "s") as wire:
        async with listening(wire.url) as (announcements, subscription):
            await announcements.subscribe(subscription, [channel])
            await received(subscription)
            silence = wire.hold_reply(b"swallowed")
            await store.redis.publish(channel, "swallowed")
            await anyio.to_thread.run_sync(silence.assert_happened)

            assert await received(subscription) == []

            await eventually(lambda: store.redis.publish(channel, "now"), what="a subscriber")
            with anyio.fail_after(limit_s(20)):
                while (channel, b"now") not in await received(subscription):
                    await store.redis.publish(channel, "now")
        silence.release()


def test_reconnect_delays_grow_and_are_spread() -> None:
    for failures in range(1, 30):
        full_s = min(0.5 * 2 ** (failures - 1), 4.0)
        delays = {pubsub._reconnect_delay(failures) for _ in range(50)}
        assert min(delays) >= full_s / 2
        assert max(delays) <= full_s
        assert len(delays) > 1


async def test_unused_subscriber_does_not_resubscribe_to_a_restarting_server(
    real_server: ServerProcess, real_store: Store, fast_watchdog: None
) -> None:
    async with listening(real_server.url) as (announcements, subscription):
        await announcements.subscribe(subscription, ["news"])
        await received(subscription)
        await announcements.unsubscribe(subscription)
        await eventually(
            lambda: real_store.redis.pubsub_numsub("news"), lambda rows: rows[0][1] == 0, what="no subscriber"
        )
        real_server.kill()
        real_server.start()
        async with a_queue(real_server.url, real_store.keys) as queue:
            for _ in range(100):
                await queue.ping()

        stats = await real_store.redis.info("commandstats")

        # At most one: the driver itself repeats a subscription when the connection breaks.
        assert stats.get("cmdstat_subscribe", {"calls": 0})["calls"] <= 1
        again = Subscription()
        await announcements.subscribe(again, ["news"])
        await received(again)


@pytest.fixture
def fast_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the subscriber's watchdog a hundred times as fast."""
    for name in ("PING_S", "RECONNECT_S"):
        monkeypatch.setattr(pubsub, name, getattr(pubsub, name) / 100)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[tuple[Announcements, Subscription]]:
    """Run a subscriber during the block; yields it with a subscription."""
    link = AsyncConnection(url)
    announcements = Announcements(link)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(announcements.run)
        try:
            yield announcements, Subscription()
        finally:
            tasks.cancel_scope.cancel()
    await link.aclose()


async def received(subscription: Subscription) -> list[tuple[str, bytes]]:
    """Wait for messages and take them; an empty list means that some may have been missed."""
    with anyio.fail_after(limit_s(20)):
        await subscription.wait()
    messages, missed = subscription.take()
    assert messages or missed
    return messages
