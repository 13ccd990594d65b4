"""A server may flush its script cache at any time; no call fails, is carried out twice or loses its place."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.states import JobState
from oneshot_queue.store import enqueue, leases, retention
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.calls import plain
from tests.support.builders import Store, a_spec, an_outcome, opened
from tests.support.cases import case
from tests.support.clients import KINDS, OpenQueue, opened_client
from tests.support.servers import ServerProcess


async def forget_scripts(store: Store) -> None:
    await store.redis.script_flush()


@case("R5")
async def test_every_call_survives_a_flush_of_the_script_cache(store: Store) -> None:
    for _ in range(2):
        await forget_scripts(store)
        lease = await store.lease()
        for state in JobState:
            await forget_scripts(store)
            held = await store.in_state(state)
            assert await store.state_of(held.id) == state
        await forget_scripts(store)
        await store.interrupt(await store.enqueue())
        await forget_scripts(store)
        assert await store.reclaim(lease) == []
        await forget_scripts(store)
        await store.run(leases.renew(store.keys, lease, 30.0))
        await forget_scripts(store)
        await store.run(retention.prune(store.keys, store.settings))
        await forget_scripts(store)
        assert await store.run(leases.unregister(store.keys, lease))


async def test_clients_survive_a_flush_between_any_two_verbs(open_queue: OpenQueue, store: Store) -> None:
    async with open_queue() as queue:
        for _ in range(3):
            await forget_scripts(store)
            job = await queue.enqueue(["true"])
            await forget_scripts(store)
            await job.interrupt()
            assert (await job.refresh()).state is JobState.INTERRUPTED


@pytest.mark.parametrize("kind", KINDS)
async def test_text_of_a_script_is_sent_once_per_connection(
    real_server: ServerProcess, real_store: Store, kind: str
) -> None:
    await real_store.redis.config_resetstat()
    async with opened_client(kind, real_server.url, real_store.keys) as queue:
        for _ in range(20):
            await queue.enqueue(["true"])

    stats = await real_store.redis.info("commandstats")
    assert (stats["cmdstat_eval"]["calls"], stats["cmdstat_evalsha"]["calls"]) == (1, 19)


async def test_flush_in_the_middle_of_a_pipeline_changes_no_answer(store: Store) -> None:
    ids = [f"job-{number}" for number in range(20)]
    calls: list[Any] = [enqueue.enqueue(store.keys, job_id, a_spec(), by="me", max_length=100) for job_id in ids]
    calls.insert(10, plain("SCRIPT", "FLUSH", read=lambda _: None))

    answers = await store.connection.run_many(calls)

    assert answers[:10] + answers[11:] == [enqueue.Enqueued(created=True)] * 20
    assert [claim.job_id for claim in await store.claim(await store.lease(), free=100)] == ids


@pytest.mark.parametrize("forgotten", ["all", "record only"])
async def test_calls_stay_in_order_when_one_script_is_not_cached(store: Store, forgotten: str) -> None:
    """Another process may have loaded the second script again, but not yet the first."""
    held = await store.running()
    await store.finish(await store.running())
    await store.record(held, pid=1)
    await forget_scripts(store)
    if forgotten == "record only":
        async with opened(store.connection.url, store.keys) as other:
            await other.finish(await other.running())
    calls: list[Any] = []
    for event in ("detect_silence", "detect_activity"):
        held.sequence += 1
        calls.append(store.record_call(held, event))

    answers = await store.connection.run_many([*calls, store.finish_call(held, an_outcome(JobState.FAILED))])

    assert answers == [Recorded(JobState.IDLE), Recorded(JobState.RUNNING), Recorded(JobState.FAILED)]
    assert [row.state for row in (await store.record_of(held.id)).history] == [
        "CREATED",
        "RUNNING",
        "IDLE",
        "RUNNING",
        "FAILED",
    ]


async def test_restarted_server_without_scripts_serves_every_call(
    real_server: ServerProcess, real_store: Store
) -> None:
    await real_store.redis.config_set("appendfsync", "always")
    held = await real_store.running()
    real_server.kill()
    real_server.start()

    # An old connection fails at its next use; a result may be sent again.
    with suppress(BrokerUnreachable):
        await real_store.finish(held)

    await real_store.finish(held)

    assert await real_store.state_of(held.id) == JobState.COMPLETED
