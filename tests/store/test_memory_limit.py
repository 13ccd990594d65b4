"""When the server's memory is used up, nothing new is accepted, and everything that is there can still end."""

from __future__ import annotations

import pytest

from oneshot_queue import QueueFull, Settings
from oneshot_queue.errors import BrokerError
from oneshot_queue.jobs import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import job_store, lease_store
from oneshot_queue.store.job_store import Ended, Fenced, IntentRecorded, Recorded
from oneshot_queue.store.lease_store import Intent, Renewed
from oneshot_queue.store.refusals import is_out_of_memory
from oneshot_queue.wire import pack_chunks
from tests.faults.cases import case
from tests.servers import ServerProcess
from tests.store.builders import Store, a_chunk, a_job_id, a_queue, a_spec, an_outcome


async def fill_memory(store: Store) -> None:
    await store.redis.config_set("maxmemory", 1)
    with pytest.raises(BrokerError) as refusal:
        await store.run(lease_store.ring(store.keys))
    assert is_out_of_memory(refusal.value)


@case("R6")
async def test_enqueue_says_that_the_queue_is_full_and_leaves_nothing_half_written(
    real_server: ServerProcess, real_store: Store
) -> None:
    async with a_queue(real_server.url, real_store.keys) as queue:
        await queue.enqueue(["true"])
        before = await real_store.dump()
        await fill_memory(real_store)

        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.enqueue(["true"])
        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.enqueue_many([["true"], ["false"]])

    assert await real_store.dump() == before


async def test_first_enqueue_of_a_queue_leaves_nothing_half_written(
    real_server: ServerProcess, real_store: Store
) -> None:
    await fill_memory(real_store)

    async with a_queue(real_server.url, real_store.keys) as queue:
        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.enqueue(["true"])

    assert await real_store.redis.dbsize() == 0


async def test_running_job_is_recorded_and_ends(real_store: Store) -> None:
    held = await real_store.running()
    await fill_memory(real_store)

    assert await real_store.record(held, "detect_silence", pid=1) == Recorded(JobState.IDLE)
    assert await real_store.record(held, "detect_activity") == Recorded(JobState.RUNNING)
    inline = pack_chunks([a_chunk(1, b"out")])
    failed = an_outcome(JobState.FAILED, error="because")
    assert await real_store.finish(held, failed, inline_output=inline, kept=3) == Recorded(JobState.FAILED)

    known = await real_store.record_of(held.id)
    assert (known.state, known.error) == (JobState.FAILED, "because")
    assert await real_store.length() == 0


async def test_output_is_stored_whole_or_refused_whole(real_store: Store) -> None:
    held = await real_store.running()
    await fill_memory(real_store)

    with pytest.raises(BrokerError) as refusal:
        await real_store.append(held, a_chunk(1, b"a"), a_chunk(2, b"b", offset=1))

    assert is_out_of_memory(refusal.value)
    assert await real_store.chunks(held) == []
    await real_store.redis.config_set("maxmemory", 0)
    assert await real_store.append(held, a_chunk(1, b"a"), a_chunk(2, b"b", offset=1)) == Recorded()
    assert [chunk.data for chunk in await real_store.chunks(held)] == [b"a", b"b"]


async def test_fenced_output_is_refused_as_ever(real_store: Store) -> None:
    held = await real_store.finished()
    await fill_memory(real_store)

    assert await real_store.append(held, a_chunk(1)) == Fenced()


async def test_waiting_jobs_are_claimed_even_from_a_stream_that_nobody_ever_claimed_from(real_store: Store) -> None:
    lease = await real_store.lease()
    ids = [await real_store.submit(a_spec(priority=priority)) for priority in Priority]
    await fill_memory(real_store)

    claims = await real_store.claim(lease, free=3)

    assert [claim.job_id for claim in claims] == ids
    assert await real_store.reclaim(lease) == claims


async def test_one_job_is_claimed_even_from_a_stream_that_nobody_ever_claimed_from(real_store: Store) -> None:
    lease, job_id = await real_store.lease(), await real_store.submit()
    await fill_memory(real_store)

    held = await real_store.held(job_id, lease)

    assert await real_store.finish(held) == Recorded(JobState.COMPLETED)


async def test_malformed_entry_is_set_aside(real_store: Store) -> None:
    lease = await real_store.lease()
    await real_store.redis.xadd(real_store.keys.ready(Priority.NORMAL), {"foreign": "entry"})
    await fill_memory(real_store)

    answer = await real_store.claimed(lease)

    assert answer.set_aside == 1
    assert await real_store.length() == 0


async def test_leases_begin_and_are_renewed_and_end(real_store: Store) -> None:
    lease = await real_store.lease()
    await fill_memory(real_store)

    renewed = await real_store.run(lease_store.renew(real_store.keys, lease, 60.0))
    other = await real_store.lease()
    ended = await real_store.run(lease_store.unregister(real_store.keys, lease))

    assert isinstance(renewed, Renewed)
    assert ended
    assert [row.decode() for row in await real_store.redis.zrange(real_store.keys.workers, 0, -1)] == [other]


async def test_jobs_are_interrupted_waiting_or_running(real_store: Store) -> None:
    held, waiting = await real_store.running(), await real_store.submit()
    await fill_memory(real_store)

    assert isinstance(await real_store.interrupt(waiting, reason="why"), Ended)
    assert isinstance(await real_store.interrupt(held.id, grace=1.0), IntentRecorded)

    renewed = await real_store.run(lease_store.renew(real_store.keys, held.holder.lease, 30.0))
    assert isinstance(renewed, Renewed)
    assert renewed.intents == (Intent(held.id, 1, 1.0),)
    assert (await real_store.record_of(waiting)).reason == "why"


async def test_finished_jobs_are_forgotten(real_store: Store) -> None:
    for _ in range(3):
        await real_store.finished(kept=10)
    await fill_memory(real_store)

    settings = Settings(max_finished_jobs=1)
    removed = await real_store.run(job_store.prune(real_store.keys, settings))

    assert removed == 2
    assert await real_store.redis.hget(real_store.keys.counters, "kept") == b"10"


async def test_memory_that_is_free_again_is_used_again(real_server: ServerProcess, real_store: Store) -> None:
    await fill_memory(real_store)
    async with a_queue(real_server.url, real_store.keys) as queue:
        with pytest.raises(QueueFull):
            await queue.enqueue(["true"], id=(job_id := a_job_id()))
        await real_store.redis.config_set("maxmemory", 0)

        job = await queue.enqueue(["true"], id=job_id)

        assert job.created
        assert await queue.unfinished() == [job_id]
