"""Who listens hears again whatever befell the connection, is told what may have been missed, and never hammers."""

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
from tests.support.servers import Server, ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Wire


async def test_listeners_are_told_when_the_server_comes_back(
    real_server: ServerProcess, real_store: Store, hurried: None
) -> None:
    async with listening(real_server.url) as (heard, ear):
        await heard.listen(ear, ["news"])
        await told(ear)
        real_server.kill()
        await told(ear)
        real_server.start()
        await told(ear)

        await eventually(lambda: real_store.redis.publish("news", "now"), what="a listener")
        assert await told(ear) == [("news", b"now")]


async def test_frozen_server_is_noticed_though_it_gives_no_error(
    real_server: ServerProcess, real_store: Store, hurried: None
) -> None:
    async with listening(real_server.url) as (heard, ear):
        await heard.listen(ear, ["news"])
        await told(ear)

        real_server.pause()
        try:
            assert await told(ear) == []
        finally:
            real_server.resume()


async def test_connection_that_only_looks_alive_is_given_up(
    server: Server, store: Store, hurried: None, tmp_path: Path
) -> None:
    channel = f"{store.keys.prefix}:news"
    with Wire(Path(server.url.removeprefix("unix://")), tmp_path / "s") as wire:
        async with listening(wire.url) as (heard, ear):
            await heard.listen(ear, [channel])
            await told(ear)
            silence = wire.hold_reply(b"swallowed")
            await store.redis.publish(channel, "swallowed")
            await anyio.to_thread.run_sync(silence.assert_happened)

            assert await told(ear) == []

            await eventually(lambda: store.redis.publish(channel, "now"), what="a listener")
            with anyio.fail_after(20):
                while (channel, b"now") not in await told(ear):
                    await store.redis.publish(channel, "now")
        silence.release()


def test_lost_subscribers_return_ever_more_slowly_and_not_together() -> None:
    for failures in range(1, 30):
        full_s = min(0.5 * 2 ** (failures - 1), 4.0)
        delays = {pubsub._reconnect_delay(failures) for _ in range(50)}
        assert min(delays) >= full_s / 2
        assert max(delays) <= full_s
        assert len(delays) > 1


async def test_subscriber_that_nobody_needs_any_more_does_not_hammer_a_server_that_restarts(
    real_server: ServerProcess, real_store: Store, hurried: None
) -> None:
    async with listening(real_server.url) as (heard, ear):
        await heard.listen(ear, ["news"])
        await told(ear)
        await heard.forget(ear)
        await eventually(lambda: real_store.redis.pubsub_numsub("news"), lambda rows: rows[0][1] == 0, what="silence")
        real_server.kill()
        real_server.start()
        async with a_queue(real_server.url, real_store.keys) as queue:
            for _ in range(100):
                await queue.ping()

        stats = await real_store.redis.info("commandstats")

        # At most the one that the driver repeats of its own accord when the connection breaks.
        assert stats.get("cmdstat_subscribe", {"calls": 0})["calls"] <= 1
        again = Subscription()
        await heard.listen(again, ["news"])
        await told(again)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subscriber's watchdog, a hundred times as quick."""
    for name in ("PING_S", "RECONNECT_S"):
        monkeypatch.setattr(pubsub, name, getattr(pubsub, name) / 100)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[tuple[Announcements, Subscription]]:
    """A subscriber that runs while its block does, and an ear for it."""
    link = AsyncConnection(url)
    heard = Announcements(link)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heard.run)
        try:
            yield heard, Subscription()
        finally:
            tasks.cancel_scope.cancel()
    await link.aclose()


async def told(ear: Subscription) -> list[tuple[str, bytes]]:
    """Wait for news and take it; nothing said means that something may have been missed."""
    with anyio.fail_after(20):
        await ear.wait()
    said, missed = ear.take()
    assert said or missed
    return said
