"""Connections are few, shared and returned, and never give one caller another's answer."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from oneshot_queue import BrokerUnreachable, JobSpec, OneshotQueueError, QueueClosed, Settings, SyncQueue
from oneshot_queue.store import queues
from oneshot_queue.store.calls import plain
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport import driver
from oneshot_queue.store.transport.addresses import Peer
from oneshot_queue.store.transport.async_node import AsyncNode
from oneshot_queue.store.transport.connection import AsyncConnection, SyncConnection
from oneshot_queue.store.transport.routes import KeepOnly
from tests.support.builders import Store, a_queue, an_outcome, opened
from tests.support.clients import KINDS, OpenQueue, opened_client
from tests.support.limits import limit_s
from tests.support.servers import Server, ServerProcess
from tests.support.waiting import eventually


async def clients_of(store: Store, subscribed: bool | None = None) -> int:
    """Return the number of clients besides the test's own two connections, or of those that are subscribed."""
    rows = await store.redis.client_list()
    if subscribed is None:
        return len(rows)
    return sum((int(row["sub"]) > 0) == subscribed for row in rows)


async def until_no_more_than(number: int, store: Store) -> None:
    def are_gone(clients: int) -> bool:
        return clients <= number

    await eventually(lambda: clients_of(store), are_gone, what="the connections to close")


async def test_many_waiting_calls_share_one_subscriber(server: Server, store: Store) -> None:
    if not server.is_real:
        pytest.skip("fakeredis does not tell which clients listen")
    jobs = [await store.running() for _ in range(100)]
    before = await clients_of(store, subscribed=True)
    outcomes: list[Any] = []
    async with a_queue(server.url, store.keys) as queue, anyio.create_task_group() as tasks:

        async def wait(job_id: str) -> None:
            outcomes.append(await (await queue.get(job_id)).wait(timeout=limit_s(30)))

        for held in jobs:
            tasks.start_soon(wait, held.id)
        channels = [store.keys.events(held.id) for held in jobs]
        await eventually(
            lambda: store.redis.pubsub_numsub(*channels), lambda rows: all(n == 1 for _, n in rows), what="subscribers"
        )

        assert await clients_of(store, subscribed=True) == before + 1

        await store.connection.run_many([store.finish_call(held) for held in jobs])

    assert outcomes == [an_outcome()] * 100


async def test_number_of_connections_is_bounded(fresh_server: ServerProcess, keys: QueueKeys) -> None:
    async with opened(fresh_server.url, keys) as store:
        before = await clients_of(store)
        async with a_queue(fresh_server.url, keys) as queue, anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(queue.enqueue, ["true"])
            most = before
            while most == before:  # which task runs first differs between versions of Python
                most = await clients_of(store)

        assert await store.length() == 200
    assert before < most <= before + driver.MAX_CONNECTIONS


@pytest.mark.parametrize("kind", KINDS)
async def test_closed_queue_leaves_no_connection(fresh_server: ServerProcess, keys: QueueKeys, kind: str) -> None:
    async with opened(fresh_server.url, keys) as store:
        held = await store.running()
        before = await clients_of(store)

        async with opened_client(kind, fresh_server.url, keys) as queue:
            job = await queue.get(held.id)
            with pytest.raises(TimeoutError):
                await job.wait(timeout=0.01)
            assert await clients_of(store) > before

        await until_no_more_than(before, store)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
async def test_queue_that_is_closed_while_a_verb_waits_ends_the_verb_and_leaves_no_connection(
    fresh_server: ServerProcess, keys: QueueKeys, kind: str
) -> None:
    async with opened(fresh_server.url, keys) as store:
        held = await store.running()
        before = await clients_of(store)
        ends: list[BaseException] = []

        async def wait(job: Any) -> None:
            try:
                await job.wait()
            except OneshotQueueError as end:
                ends.append(end)

        channel = keys.events(held.id)
        async with anyio.create_task_group() as tasks, opened_client(kind, fresh_server.url, keys) as queue:
            tasks.start_soon(wait, await queue.get(held.id))
            await eventually(
                lambda: store.redis.pubsub_numsub(channel), lambda rows: rows[0][1] == 1, what="a subscriber"
            )

        assert [type(end) for end in ends] == [QueueClosed]
        await until_no_more_than(before, store)


async def test_threads_may_share_a_blocking_queue(server: Server, store: Store) -> None:
    with SyncQueue(server.url, queue=store.keys.queue, settings=store.settings) as queue:

        def enqueue_some() -> None:
            for number in range(25):
                job = queue.get(queue.enqueue(["echo", str(number)]).id)
                assert job.record is not None
                assert job.record.spec == JobSpec(["echo", str(number)])

        async with anyio.create_task_group() as threads:
            for _ in range(8):
                threads.start_soon(anyio.to_thread.run_sync, enqueue_some)

    assert await store.length() == 200


def test_child_of_a_fork_does_not_share_its_parents_connection(server: Server) -> None:
    link = SyncConnection(server.url)
    call = plain("CLIENT", "ID", read=int)
    (own,) = link.run_many([call])
    read_end, write_end = os.pipe()

    child = os.fork()
    if child == 0:
        with suppress(OneshotQueueError):
            os.write(write_end, b"%d" % link.run_many([call])[0])
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as answer:
        childs = int(answer.read())

    assert childs != own
    assert link.run_many([call]) == [own]
    link.close()


async def test_idle_connection_that_the_server_closed_is_replaced(
    open_queue: OpenQueue, server: Server, store: Store
) -> None:
    if not server.is_real:
        pytest.skip("fakeredis takes a client off its list before it hangs up")
    async with open_queue() as queue:
        await queue.ping()
        before = await clients_of(store)
        await store.redis.client_kill_filter(_type="normal", skipme=True)

        def are_fewer(number: int) -> bool:
            return number < before

        await eventually(lambda: clients_of(store), are_fewer, what="the connections to close")
        await queue.ping()


async def test_queue_can_be_closed_twice_and_opened_again(server: Server, store: Store) -> None:
    queue = a_queue(server.url, store.keys)
    for _ in range(2):
        async with queue:
            await queue.ping()
        await queue.__aexit__()


def test_blocking_queue_can_be_closed_twice_and_opened_again(server: Server, keys: QueueKeys) -> None:
    queue = SyncQueue(server.url, queue=keys.queue, settings=Settings(namespace=keys.namespace))
    for _ in range(2):
        with queue:
            queue.ping()
        queue.__exit__()
        with pytest.raises(QueueClosed):
            queue.ping()


async def test_blocking_queue_subscribes_only_while_it_waits(server: Server, store: Store) -> None:
    held = await store.running()
    channel = store.keys.events(held.id)
    with SyncQueue(server.url, queue=store.keys.queue, settings=store.settings) as queue:
        job = await anyio.to_thread.run_sync(queue.get, held.id)
        with pytest.raises(TimeoutError):
            await anyio.to_thread.run_sync(job.wait, 0.01)

        await eventually(lambda: store.redis.pubsub_numsub(channel), lambda rows: rows[0][1] == 0, what="no subscriber")
        await anyio.to_thread.run_sync(queue.ping)


async def test_cancelled_calls_mix_up_no_answers_and_lose_no_connection(server: Server, store: Store) -> None:
    link = AsyncConnection(server.url)
    chance = random.Random(1)  # about the same moments in every run
    wrong: list[tuple[str, str]] = []

    async def ask(number: int) -> None:
        asked = f"{number:06d}" * 100
        with anyio.move_on_after(chance.random() * 0.003):
            answer = await link.run(plain("ECHO", asked, read=bytes.decode))
            if answer != asked:
                wrong.append((asked, answer))

    for _ in range(10):
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(ask, number)

    assert wrong == []
    # All at once: no connection slot was lost.
    async with anyio.create_task_group() as tasks:
        for _ in range(driver.MAX_CONNECTIONS):
            tasks.start_soon(link.run, queues.ping())
    await link.aclose()


async def test_servers_are_retired_once_when_two_tasks_learn_of_it_together(monkeypatch: pytest.MonkeyPatch) -> None:
    retired: list[AsyncNode] = []

    async def retire(node: AsyncNode) -> None:
        await anyio.lowlevel.checkpoint()
        retired.append(node)

    monkeypatch.setattr(AsyncNode, "retire", retire)
    link = AsyncConnection("redis+cluster://seed")
    nodes = [link._node(Peer("old", port)) for port in range(1, 4)]

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(link._perform, KeepOnly(frozenset()))

    assert sorted(map(nodes.index, retired)) == [0, 1, 2]


async def test_wait_for_other_handshakes_is_limited() -> None:
    asked = 0

    async def log_in_and_freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while received := await reader.read(65_536):
            asked += b"INFO" in received
            writer.write(b"+OK\r\n" * received.count(b"SETINFO"))
        writer.close()

    limit_s = 0.3
    answers: list[BrokerUnreachable] = []

    async def call(link: AsyncConnection) -> None:
        with pytest.raises(BrokerUnreachable) as refusal:
            await link.run(queues.ping())
        answers.append(refusal.value)

    server = await asyncio.start_server(log_in_and_freeze, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        link = AsyncConnection(f"redis://{host}:{port}", reply_timeout_s=limit_s, tracks_server=True)
        with anyio.fail_after(driver.MAX_CONNECTIONS * limit_s / 2):
            async with anyio.create_task_group() as tasks:
                for _ in range(driver.MAX_CONNECTIONS):
                    tasks.start_soon(call, link)
        await link.aclose()

    assert len(answers) == driver.MAX_CONNECTIONS
    assert asked >= 1


async def test_frozen_server_is_unreachable_and_used_again_when_it_resumes(
    real_server: ServerProcess, real_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = AsyncConnection(real_server.url, reply_timeout_s=0.2)
    await link.run(queues.ping())
    real_server.pause()
    try:
        with pytest.raises(BrokerUnreachable):
            await link.run(plain("ECHO", "lost", read=bytes.decode))
    finally:
        real_server.resume()

    assert await link.run(plain("ECHO", "found", read=bytes.decode)) == "found"
    await link.aclose()
