"""Behind sentinels the primary is found and abandoned once it is replaced; no job is enqueued twice meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest
import redis
from anyio import to_thread

from oneshot_queue import BrokerError, BrokerRefused, BrokerUnreachable
from oneshot_queue.settings import Settings
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import enqueue, queues
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport import sentinels
from oneshot_queue.store.transport.connection import AsyncConnection, SyncConnection
from oneshot_queue.store.transport.pubsub import Announcements, Subscription
from oneshot_queue.store.transport.server_facts import ServerFacts
from tests.support.builders import Store, a_job_id, a_spec, append_facts_to
from tests.support.clients import KINDS, opened_client
from tests.support.clusters import SentinelDeployment, ask
from tests.support.limits import limit_s
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually


@pytest.fixture
def deployment() -> Iterator[SentinelDeployment]:
    with SentinelDeployment() as deployment:
        yield deployment


@asynccontextmanager
async def stored_at(deployment: SentinelDeployment, keys: QueueKeys) -> AsyncIterator[Store]:
    link = AsyncConnection(deployment.url, tracks_server=True)
    try:
        yield Store(link, None, keys, Settings(namespace=keys.namespace))
    finally:
        await link.aclose()


async def enqueue_until_stored(link: AsyncConnection, keys: QueueKeys, job_id: str) -> None:
    """Enqueue the same id until it is acknowledged, as a persistent app would."""

    async def is_stored() -> bool:
        try:
            await link.run(enqueue.enqueue(keys, job_id, a_spec(), by="app@host", max_length=10**6))
        except BrokerError as error:
            if not error.is_passing:
                raise
            return False
        return True

    stored: Any = is_stored
    await eventually(stored, what="an acknowledged enqueue")


@pytest.mark.parametrize("kind", KINDS)
async def test_both_clients_work_behind_sentinels(deployment: SentinelDeployment, keys: QueueKeys, kind: str) -> None:
    async with opened_client(kind, deployment.url, keys) as queue:
        jobs = await queue.enqueue_many([["true"]] * 50)

        for job in jobs[:3]:
            await job.interrupt()
            outcome = await job.wait(timeout=limit_s(10))
            assert outcome.state is JobState.INTERRUPTED


@pytest.mark.thorough
async def test_job_runs_its_whole_life_behind_sentinels(deployment: SentinelDeployment, keys: QueueKeys) -> None:
    async with stored_at(deployment, keys) as store:
        held = await store.running()

        assert await store.finish(held) == Recorded(JobState.COMPLETED)


@pytest.mark.thorough
async def test_killed_primary_is_replaced_and_no_job_is_lost_or_duplicated(
    deployment: SentinelDeployment, keys: QueueKeys
) -> None:
    old = deployment.primary
    seen: list[ServerFacts] = []
    ids = [a_job_id() for _ in range(300)]
    async with stored_at(deployment, keys) as store:
        store.connection.on_new_server(append_facts_to(seen))
        for job_id in ids[:100]:
            await enqueue_until_stored(store.connection, keys, job_id)
        # Writes that did not reach the replica are lost with the primary; no client can prevent that.
        with redis.Redis.from_url(old.url) as client:
            assert client.wait(1, 5_000) == 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(to_thread.run_sync, old.kill)
            for job_id in ids[100:]:
                await enqueue_until_stored(store.connection, keys, job_id)
        new = await to_thread.run_sync(deployment.wait_for_failover_from, old)
        for job_id in ids:
            await enqueue_until_stored(store.connection, keys, job_id)

        entries = ask(new, "XRANGE", keys.ready(Priority.NORMAL), "-", "+")
        stored = [fields[1].decode() for _, fields in entries]
        assert sorted(stored) == sorted(ids)
        assert len({facts.run_id for facts in seen}) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [AsyncConnection, SyncConnection])
async def test_frozen_primary_gets_no_calls_once_it_is_replaced(
    deployment: SentinelDeployment, keys: QueueKeys, kind: Any
) -> None:
    old = deployment.primary
    link = kind(deployment.url)

    async def is_enqueued(job_id: str) -> bool:
        call = enqueue.enqueue(keys, job_id, a_spec(), by="app@host", max_length=10**6)
        try:
            if kind is AsyncConnection:
                await link.run(call)
            else:
                (answer,) = await to_thread.run_sync(link.run_many, [call])
                assert answer == enqueue.Enqueued(created=True)
        except BrokerUnreachable:
            return False
        return True

    assert await is_enqueued(a_job_id())
    old.pause()
    try:
        await to_thread.run_sync(deployment.wait_for_failover_from, old)
        insisting: Any = lambda: is_enqueued(a_job_id())  # noqa: E731
        await eventually(insisting, what="an enqueue to the new primary")
    finally:
        old.resume()
    before = {client.split()[0] for client in clients_of(old)}
    later = [a_job_id() for _ in range(20)]
    for job_id in later:
        assert await is_enqueued(job_id)

    new = deployment.primary
    assert new is not old
    assert all(ask(new, "EXISTS", keys.job(job_id)) for job_id in later)
    assert {client.split()[0] for client in clients_of(old)} - before == set()
    if kind is AsyncConnection:
        await link.aclose()
    else:
        link.close()


def clients_of(server: ServerProcess) -> list[str]:
    """Return the clients that logged in as this library does, except the one that asks."""
    rows: list[str] = ask(server, "CLIENT", "LIST", "TYPE", "normal").decode().splitlines()
    return [row for row in rows if "cmd=client" not in row and "lib-name=redis-py" in row]


@pytest.mark.thorough
async def test_demoted_primary_is_abandoned_at_its_first_refusal(
    deployment: SentinelDeployment, keys: QueueKeys
) -> None:
    old = deployment.primary
    async with stored_at(deployment, keys) as store:
        await store.enqueue()
        await to_thread.run_sync(ask, deployment.sentinels[0], "SENTINEL", "FAILOVER", "jobs")

        # Writes that the old primary accepts before it is demoted are lost; no client can prevent that.
        while not is_demoted(old):
            await enqueue_until_stored(store.connection, keys, a_job_id())
        new = await to_thread.run_sync(deployment.wait_for_failover_from, old)
        ids = [await store.enqueue() for _ in range(20)]

        assert all(ask(new, "EXISTS", keys.job(job_id)) for job_id in ids)


def is_demoted(server: ServerProcess) -> bool:
    try:
        return bool(ask(server, "ROLE")[0] == b"slave")
    except redis.RedisError:
        return False  # it closes all connections at that moment


@pytest.mark.thorough
async def test_listener_moves_to_the_new_primary(deployment: SentinelDeployment) -> None:
    old = deployment.primary
    link = AsyncConnection(deployment.url)
    announcements, subscription = Announcements(link), Subscription()
    async with aclosing(link), anyio.create_task_group() as tasks:
        tasks.start_soon(announcements.run)
        await announcements.subscribe(subscription, ["news"])
        await eventually(lambda: ask(old, "PUBLISH", "news", "first"), what="a subscriber")
        await to_thread.run_sync(old.kill)
        new = await to_thread.run_sync(deployment.wait_for_failover_from, old)

        await eventually(lambda: ask(new, "PUBLISH", "news", "second"), what="a subscriber on the new primary")
        with anyio.fail_after(limit_s(10)):
            while ("news", b"second") not in subscription.take()[0]:
                await subscription.wait()
        tasks.cancel_scope.cancel()


@pytest.mark.thorough
async def test_dead_sentinels_are_skipped(deployment: SentinelDeployment, keys: QueueKeys) -> None:
    for sentinel in deployment.sentinels[:2]:
        sentinel.kill()

    async with stored_at(deployment, keys) as store:
        await store.enqueue()


@pytest.mark.thorough
async def test_primary_is_rechecked_periodically_and_kept_if_no_sentinel_answers(
    deployment: SentinelDeployment, keys: QueueKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinels, "RECHECK_S", 0.0)
    async with stored_at(deployment, keys) as store:
        await store.enqueue()
        for sentinel in deployment.sentinels:
            sentinel.kill()

        await store.enqueue()


async def test_broker_without_a_reachable_sentinel_is_unreachable(keys: QueueKeys) -> None:
    link = AsyncConnection("redis+sentinel://:g3h3im@127.0.0.1:1,127.0.0.1:2/jobs")

    with pytest.raises(BrokerUnreachable, match="no sentinel names the primary") as refusal:
        await link.run(queues.ping())

    assert "g3h3im" not in str(refusal.value)


@pytest.mark.thorough
async def test_service_unknown_to_all_sentinels_needs_a_person(deployment: SentinelDeployment) -> None:
    link = AsyncConnection(deployment.url.replace("/jobs/", "/jbos/"))

    with pytest.raises(BrokerRefused, match="know no service named 'jbos'") as refusal:
        await link.run(queues.ping())

    assert refusal.value.needs_person
    await link.aclose()
