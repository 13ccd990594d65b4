"""In a cluster each call reaches the node of its queue, also after a move; a call during a move is only delayed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread

from oneshot_queue import BrokerError, BrokerRefused, BrokerUnreachable
from oneshot_queue.settings import Settings
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import claims, enqueue, presence
from oneshot_queue.store import queues as queues_store
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.calls import plain
from oneshot_queue.store.claims import Claim
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport.connection import AsyncConnection, SyncConnection
from oneshot_queue.store.transport.pubsub import Announcements, Subscription
from oneshot_queue.store.transport.server_facts import ServerFacts
from tests.support.builders import Store, a_job_id, a_spec, append_facts_to
from tests.support.cases import case
from tests.support.clients import KINDS, opened_client
from tests.support.clusters import ClusterDeployment, ask, facts_of
from tests.support.limits import limit_s
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually


@pytest.fixture
def deployment() -> Iterator[ClusterDeployment]:
    with ClusterDeployment() as deployment:
        yield deployment


@asynccontextmanager
async def connected(deployment: ClusterDeployment, **options: Any) -> AsyncIterator[AsyncConnection]:
    link = AsyncConnection(deployment.url, **options)
    try:
        yield link
    finally:
        await link.aclose()


def store_of(link: AsyncConnection, keys: QueueKeys) -> Store:
    return Store(link, None, keys, Settings(namespace=keys.namespace))


def queues_on_all_nodes(deployment: ClusterDeployment, namespace: str) -> list[QueueKeys]:
    """Return one queue for each node, in the order of the nodes."""
    found: dict[ServerProcess, QueueKeys] = {}
    for number in range(1_000):
        keys = QueueKeys(namespace, f"queue-{number}")
        found.setdefault(deployment.node_of(deployment.slot_of(keys.prefix)), keys)
        if len(found) == len(deployment.nodes):
            return [found[node] for node in deployment.nodes]
    raise AssertionError("some node has no queue")


def stored_in(node: ServerProcess, keys: QueueKeys) -> list[str]:
    return [fields[1].decode() for _, fields in ask(node, "XRANGE", keys.ready(Priority.NORMAL), "-", "+")]


@pytest.mark.parametrize("kind", KINDS)
async def test_both_clients_work_on_a_cluster(deployment: ClusterDeployment, namespace: str, kind: str) -> None:
    for keys in queues_on_all_nodes(deployment, namespace):
        async with opened_client(kind, deployment.url, keys) as queue:
            jobs = await queue.enqueue_many([["true"]] * 250)

            for job in jobs[:2]:
                await job.interrupt()
                assert (await job.wait(timeout=limit_s(10))).state is JobState.INTERRUPTED


async def test_jobs_run_their_whole_lives_on_every_node(deployment: ClusterDeployment, namespace: str) -> None:
    async with connected(deployment) as link:
        for keys in queues_on_all_nodes(deployment, namespace):
            store = store_of(link, keys)
            held = await store.running()

            assert await store.finish(held) == Recorded(JobState.COMPLETED)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [AsyncConnection, SyncConnection])
async def test_answers_of_several_nodes_come_in_the_order_of_the_calls(
    deployment: ClusterDeployment, namespace: str, kind: Any
) -> None:
    queues = queues_on_all_nodes(deployment, namespace)
    link = kind(deployment.url)
    calls: list[Any] = []
    for number in range(50):
        calls += [plain("SET", f"{keys.prefix}:x{number}", f"{keys.queue} {number}", read=bytes) for keys in queues]
        calls += [plain("GET", f"{keys.prefix}:x{number}", read=bytes.decode) for keys in queues]

    if kind is AsyncConnection:
        answers = await link.run_many(iter(calls))
        await link.aclose()
    else:
        answers = await to_thread.run_sync(link.run_many, calls)
        link.close()

    expected: list[Any] = []
    for number in range(50):
        expected += [b"OK"] * 3 + [f"{keys.queue} {number}" for keys in queues]
    assert answers == expected


async def test_presences_and_queue_names_are_read(deployment: ClusterDeployment, keys: QueueKeys) -> None:
    async with connected(deployment) as link:
        await link.run_many([queues_store.add_queue(keys.namespace, name) for name in ("a", "b", "c")])

        assert await link.run(queues_store.queues(keys.namespace)) == ["a", "b", "c"]
        assert await link.run(presence.presences(keys.namespace, ["x", "y"])) == []


async def test_queue_that_moves_under_load_is_delayed_but_loses_nothing(
    deployment: ClusterDeployment, keys: QueueKeys
) -> None:
    slot = deployment.slot_of(keys.prefix)
    source = deployment.node_of(slot)
    target = next(node for node in deployment.nodes if node is not source)
    stored: list[str] = []
    has_begun, is_over = anyio.Event(), anyio.Event()
    async with connected(deployment) as link, anyio.create_task_group() as tasks:

        async def keep_enqueueing() -> None:
            while not is_over.is_set():
                stored.append(await store_of(link, keys).enqueue())
                if len(stored) == 50:
                    has_begun.set()
            stored.extend([await store_of(link, keys).enqueue() for _ in range(20)])

        for _ in range(4):
            tasks.start_soon(keep_enqueueing)
        await has_begun.wait()
        before = refusals_of(source)

        def move_under_load() -> None:
            with deployment.moving(slot, target) as move:
                while refusals_of(source) == before:
                    move(5)

        await to_thread.run_sync(move_under_load)
        is_over.set()

    assert sorted(stored_in(target, keys)) == sorted(stored)
    assert refusals_of(source) > before


def refusals_of(node: ServerProcess) -> int:
    """Return how often a node replied TRYAGAIN, MOVED or ASK."""
    rows = ask(node, "INFO", "errorstats").decode().splitlines()
    wanted = ("errorstat_TRYAGAIN:", "errorstat_MOVED:", "errorstat_ASK:")
    return sum(int(row.rpartition("=")[2]) for row in rows if row.startswith(wanted))


@pytest.mark.thorough
@pytest.mark.parametrize("moved", [0, 1, 1_000])
async def test_claim_during_a_migration_is_delayed_but_not_lost(
    deployment: ClusterDeployment, keys: QueueKeys, moved: int
) -> None:
    slot = deployment.slot_of(keys.prefix)
    source = deployment.node_of(slot)
    target = next(node for node in deployment.nodes if node is not source)
    claims: list[Claim] = []
    async with connected(deployment) as link:
        store = store_of(link, keys)
        job_id, lease = await store.enqueue(), await store.lease()
        async with anyio.create_task_group() as tasks:

            async def claim() -> None:
                claims.extend(await store.claim(lease))

            with deployment.moving(slot, target) as move:
                move(moved)
                before = refusals_of(source) + refusals_of(target)
                tasks.start_soon(claim)
                await eventually(
                    lambda: refusals_of(source) + refusals_of(target) - before, lambda more: more >= 3, what="refusals"
                )
                assert claims == []

        assert [each.job_id for each in claims] == [job_id]
        assert [each.job_id for each in await store.reclaim(lease)] == [job_id]


async def test_key_of_a_migrating_slot_is_read_from_the_node_that_has_it(
    deployment: ClusterDeployment, keys: QueueKeys
) -> None:
    slot = deployment.slot_of(keys.prefix)
    source = deployment.node_of(slot)
    target = next(node for node in deployment.nodes if node is not source)
    names = [f"{keys.prefix}:{number}" for number in range(10)]
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(connected(deployment))
        await link.run_many([plain("SET", name, name, read=bytes) for name in names])
        with deployment.moving(slot, target) as move:
            move(5)
            before = refusals_of(source)

            answers = await link.run_many([plain("GET", name, read=bytes.decode) for name in names])

            assert answers == names
            assert refusals_of(source) - before == 5
        assert await link.run_many([plain("GET", name, read=bytes.decode) for name in names]) == names


@pytest.mark.thorough
@case("R10")
async def test_queue_that_migrates_for_too_long_is_temporarily_unreachable(
    deployment: ClusterDeployment, keys: QueueKeys
) -> None:
    slot = deployment.slot_of(keys.prefix)
    target = next(node for node in deployment.nodes if node is not deployment.node_of(slot))
    async with connected(deployment, reply_timeout_s=0.5) as link:
        store = store_of(link, keys)
        job_id = await store.enqueue()
        with (
            deployment.moving(slot, target),
            pytest.raises(BrokerUnreachable, match="moving to another node") as refusal,
        ):
            await store.enqueue()

        assert refusal.value.is_passing
        later = await store.enqueue()
    assert sorted(stored_in(target, keys)) == sorted([job_id, later])


@pytest.mark.thorough
async def test_node_that_dies_fails_only_its_own_calls_and_is_used_again(
    deployment: ClusterDeployment, namespace: str
) -> None:
    queues = queues_on_all_nodes(deployment, namespace)
    seen: list[ServerFacts] = []
    for node in deployment.nodes:
        ask(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    async with connected(deployment, reply_timeout_s=1.0, tracks_server=True) as link:
        link.on_new_server(append_facts_to(seen))
        calls = [claims.ring(keys) for keys in queues]
        assert await link.run_many(calls) == [1, 1, 1]
        assert [facts.mode for facts in seen] == ["cluster"] * 3
        await to_thread.run_sync(deployment.nodes[1].kill)

        first, second, third = await link.run_many(calls)

        assert (first, third) == (2, 2)
        assert isinstance(second, BrokerUnreachable)
        deployment.nodes[1].start()  # not in a thread: the kernel would kill it at that thread's end
        await to_thread.run_sync(deployment.wait_until_whole, deployment.nodes[1])
        returned: Any = lambda: answers_of(link, calls[1])  # noqa: E731
        assert await eventually(returned, what="the node's answer") == 2
    assert len({facts.run_id for facts in seen}) == 4


async def answers_of(link: AsyncConnection, call: Any) -> Any:
    try:
        return await link.run(call)
    except BrokerError as error:
        if not error.is_passing:
            raise
        return None


@pytest.mark.thorough
@case("R10")
async def test_cluster_that_is_down_is_temporarily_unreachable(deployment: ClusterDeployment, keys: QueueKeys) -> None:
    owner = deployment.node_of(deployment.slot_of(keys.prefix))
    other = next(node for node in deployment.nodes if node is not owner)
    async with connected(deployment, reply_timeout_s=0.5) as link:
        await to_thread.run_sync(other.kill)
        await eventually(
            lambda: facts_of(owner, "CLUSTER", "INFO"),
            lambda facts: facts["cluster_state"] == "fail",
            what="the cluster to be down",
        )

        with pytest.raises(BrokerUnreachable, match="part of the cluster is down") as refusal:
            await store_of(link, keys).enqueue()

    assert refusal.value.is_passing


@pytest.mark.thorough
async def test_listener_moves_to_another_node_when_its_own_dies(deployment: ClusterDeployment) -> None:
    async with connected(deployment) as link, anyio.create_task_group() as tasks:
        announcements, subscription = Announcements(link), Subscription()
        tasks.start_soon(announcements.run)
        await announcements.subscribe(subscription, ["news"])
        home: Any = await eventually(
            lambda: [node for node in deployment.nodes if listeners_of(node)], what="a subscriber"
        )

        with killed(home[0]):
            rest = [node for node in deployment.nodes if node is not home[0]]
            await eventually(lambda: [node for node in rest if listeners_of(node)], what="a subscriber on another node")
            # Any node will do: they forward messages to each other.
            ask(rest[0], "PUBLISH", "news", "now")
            with anyio.fail_after(limit_s(10)):
                while ("news", b"now") not in subscription.take()[0]:
                    await subscription.wait()
        tasks.cancel_scope.cancel()


def listeners_of(node: ServerProcess) -> int:
    return int(ask(node, "PUBSUB", "NUMSUB", "news")[1])


@contextmanager
def killed(node: ServerProcess) -> Iterator[None]:
    node.kill()
    yield


async def test_cluster_url_of_a_single_server_is_refused_with_advice(real_server: ServerProcess) -> None:
    link = AsyncConnection("redis+cluster://{}:{}".format(*real_server.address))

    with pytest.raises(BrokerRefused, match=r"redis://HOST"):
        await link.run(queues_store.ping())

    await link.aclose()


async def test_single_server_url_of_a_cluster_node_is_refused_with_advice(
    deployment: ClusterDeployment, namespace: str
) -> None:
    keys = queues_on_all_nodes(deployment, namespace)[1]
    link = AsyncConnection(deployment.nodes[0].url)

    with pytest.raises(BrokerRefused, match=r"redis\+cluster://") as refusal:
        await link.run(enqueue.enqueue(keys, a_job_id(), a_spec(), by="app@host", max_length=10))

    assert refusal.value.needs_person
    await link.aclose()
