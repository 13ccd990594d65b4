"""When the server's memory is full, no new job is accepted, and all stored jobs can still run and end."""

from __future__ import annotations

import pytest

from oneshot_queue import QueueFull, Settings
from oneshot_queue.errors import BrokerError
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import claims as claims_store
from oneshot_queue.store import leases, retention
from oneshot_queue.store import presence as presence_store
from oneshot_queue.store.attempts import Fenced, Holder, Recorded
from oneshot_queue.store.claims import Claimed, RetryLater, Returned
from oneshot_queue.store.enqueue import When
from oneshot_queue.store.leases import Intent, Renewed
from oneshot_queue.store.steering import Ended, IntentRecorded
from oneshot_queue.store.sweep import Swept
from oneshot_queue.store.transport.refusals import is_out_of_memory
from oneshot_queue.wire.chunks import pack_chunks
from tests.store.recovery import (
    FAILED,
    a_retried_spec,
    adopt,
    audit,
    give_back,
    make_due,
    members_of,
    promote,
    settle,
    sweep,
    watch,
)
from tests.support.builders import Held, Store, a_chunk, a_job_id, a_presence, a_queue, a_spec, an_outcome
from tests.support.cases import case
from tests.support.servers import ServerProcess


async def fill_memory(store: Store) -> None:
    await store.redis.config_set("maxmemory", 1)
    with pytest.raises(BrokerError) as refusal:
        await store.run(claims_store.ring(store.keys))
    assert is_out_of_memory(refusal.value)


@case("R6")
async def test_enqueue_reports_a_full_memory_and_writes_nothing(real_server: ServerProcess, real_store: Store) -> None:
    async with a_queue(real_server.url, real_store.keys) as queue:
        await queue.enqueue(["true"])
        before = await real_store.dump()
        await fill_memory(real_store)

        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.enqueue(["true"])
        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.enqueue_many([["true"], ["false"]])

    assert await real_store.dump() == before


async def test_first_enqueue_of_a_queue_writes_nothing(real_server: ServerProcess, real_store: Store) -> None:
    await fill_memory(real_store)

    async with a_queue(real_server.url, real_store.keys) as queue:
        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.enqueue(["true"])

    assert await real_store.redis.dbsize() == 0


async def test_running_job_is_recorded_and_finishes(real_store: Store) -> None:
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


async def test_output_is_stored_or_refused_completely(real_store: Store) -> None:
    held = await real_store.running()
    await fill_memory(real_store)

    with pytest.raises(BrokerError) as refusal:
        await real_store.append(held, a_chunk(1, b"a"), a_chunk(2, b"b", offset=1))

    assert is_out_of_memory(refusal.value)
    assert await real_store.chunks(held) == []
    await real_store.redis.config_set("maxmemory", 0)
    assert await real_store.append(held, a_chunk(1, b"a"), a_chunk(2, b"b", offset=1)) == Recorded()
    assert [chunk.data for chunk in await real_store.chunks(held)] == [b"a", b"b"]


async def test_fenced_output_stays_fenced(real_store: Store) -> None:
    held = await real_store.finished()
    await fill_memory(real_store)

    assert await real_store.append(held, a_chunk(1)) == Fenced()


async def test_waiting_jobs_are_claimed_from_a_stream_without_a_group(real_store: Store) -> None:
    lease = await real_store.lease()
    ids = [await real_store.enqueue(a_spec(priority=priority)) for priority in Priority]
    await fill_memory(real_store)

    claims = await real_store.claim(lease, free=3)

    assert [claim.job_id for claim in claims] == ids
    assert await real_store.reclaim(lease) == claims


async def test_claim_one_takes_a_job_from_a_stream_without_a_group(real_store: Store) -> None:
    lease, job_id = await real_store.lease(), await real_store.enqueue()
    await fill_memory(real_store)

    held = await real_store.held(job_id, lease)

    assert await real_store.finish(held) == Recorded(JobState.COMPLETED)


async def test_malformed_entry_is_quarantined(real_store: Store) -> None:
    lease = await real_store.lease()
    await real_store.redis.xadd(real_store.keys.ready(Priority.NORMAL), {"foreign": "entry"})
    await fill_memory(real_store)

    answer = await real_store.claimed(lease)

    assert answer.set_aside == 1
    assert await real_store.length() == 0


async def test_leases_are_registered_renewed_and_unregistered(real_store: Store) -> None:
    lease = await real_store.lease()
    await fill_memory(real_store)

    renewed = await real_store.run(leases.renew(real_store.keys, lease, 60.0))
    other = await real_store.lease()
    ended = await real_store.run(leases.unregister(real_store.keys, lease))

    assert isinstance(renewed, Renewed)
    assert ended
    assert [row.decode() for row in await real_store.redis.zrange(real_store.keys.workers, 0, -1)] == [other]


async def test_presence_of_a_live_worker_is_shown(real_store: Store) -> None:
    namespace, presence = real_store.keys.namespace, a_presence()
    await fill_memory(real_store)

    await real_store.run(presence_store.show_presence(namespace, presence))

    assert await real_store.run(presence_store.presences(namespace, ["w"])) == [presence]


async def test_waiting_and_running_jobs_are_interrupted(real_store: Store) -> None:
    held, waiting = await real_store.running(), await real_store.enqueue()
    await fill_memory(real_store)

    assert isinstance(await real_store.interrupt(waiting, reason="why"), Ended)
    assert isinstance(await real_store.interrupt(held.id, grace=1.0), IntentRecorded)

    renewed = await real_store.run(leases.renew(real_store.keys, held.holder.lease, 30.0))
    assert isinstance(renewed, Renewed)
    assert renewed.intents == (Intent(held.id, 1, 1.0),)
    assert (await real_store.record_of(waiting)).reason == "why"


async def test_finished_jobs_are_pruned(real_store: Store) -> None:
    for _ in range(3):
        await real_store.finished(kept=10)
    await fill_memory(real_store)

    settings = Settings(max_finished_jobs=1)
    removed = await real_store.run(retention.prune(real_store.keys, settings))

    assert removed == 2
    assert await real_store.redis.hget(real_store.keys.counters, "kept") == b"10"


async def test_enqueue_works_again_once_memory_is_free(real_server: ServerProcess, real_store: Store) -> None:
    await fill_memory(real_store)
    async with a_queue(real_server.url, real_store.keys) as queue:
        with pytest.raises(QueueFull):
            await queue.enqueue(["true"], id=(job_id := a_job_id()))
        await real_store.redis.config_set("maxmemory", 0)

        job = await queue.enqueue(["true"], id=job_id)

        assert job.created
        assert await queue.unfinished() == [job_id]


async def test_failed_attempt_is_retried_at_once_or_after_a_delay(real_store: Store) -> None:
    now, later = await real_store.running(a_retried_spec()), await real_store.running(a_retried_spec())
    inline = pack_chunks([a_chunk(1, b"out")])
    await fill_memory(real_store)

    assert await real_store.finish(now, FAILED, retry_after_s=0.0, inline_output=inline) == Recorded(JobState.CREATED)
    assert await real_store.finish(later, FAILED, retry_after_s=9.0) == Recorded(JobState.CREATED)

    assert await members_of(real_store, "delayed") == [later.id]
    assert [claim.attempt for claim in await real_store.claim(now.holder.lease, free=5)] == [2]


@pytest.mark.parametrize("is_counted", [True, False])
async def test_unstarted_job_is_requeued(real_store: Store, is_counted: bool) -> None:
    held = await real_store.running()
    await fill_memory(real_store)

    assert await give_back(real_store, held, is_counted=is_counted) == Returned()

    assert await real_store.state_of(held.id) == "CREATED"


async def test_due_jobs_are_promoted_and_expired_ones_fail(real_store: Store) -> None:
    due = await real_store.enqueue(when=When(delay_s=60.0))
    late = await real_store.enqueue(when=When(expires_s=60.0))
    await make_due(real_store, "delayed", due)
    await make_due(real_store, "expiring", late)
    await fill_memory(real_store)

    assert (await promote(real_store)).count == 2

    assert (await real_store.length(), await real_store.state_of(late)) == (1, "FAILED")


async def test_claim_promotes_due_jobs_and_fails_expired_ones(real_store: Store) -> None:
    due = await real_store.enqueue(when=When(delay_s=60.0))
    late = await real_store.enqueue(when=When(expires_s=60.0))
    lease = await real_store.lease()
    await make_due(real_store, "delayed", due)
    await make_due(real_store, "expiring", late)
    await fill_memory(real_store)

    assert [claim.job_id for claim in await real_store.claim(lease, free=5)] == [due]
    assert await real_store.state_of(late) == "FAILED"


async def test_expired_job_fails_when_it_is_claimed(real_store: Store) -> None:
    by_claim, by_name = [await real_store.enqueue(when=When(expires_s=60.0)) for _ in range(2)]
    lease = await real_store.lease()
    for job_id in (by_claim, by_name):
        await real_store.redis.hset(real_store.keys.job(job_id), "expires", 1)
    await fill_memory(real_store)

    assert await real_store.claim_one(by_name, lease) == Claimed((), 0)
    assert await real_store.claim(lease, free=5) == []

    assert {await real_store.state_of(each) for each in (by_claim, by_name)} == {"FAILED"}


async def test_interrupted_delayed_job_ends(real_store: Store) -> None:
    job_id = await real_store.enqueue(when=When(delay_s=60.0, expires_s=90.0))
    await fill_memory(real_store)

    assert isinstance(await real_store.interrupt(job_id), Ended)


async def test_job_of_a_lost_lease_is_interrupted_at_once(real_store: Store) -> None:
    held = await real_store.running()
    await real_store.redis.zrem(real_store.keys.workers, held.holder.lease)
    await fill_memory(real_store)

    assert isinstance(await real_store.interrupt(held.id), Ended)


async def test_lease_of_a_lost_worker_is_swept(real_store: Store) -> None:
    once, retried = await real_store.running(), await real_store.running(a_retried_spec(delay_s=5.0))
    await fill_memory(real_store)

    seen = await watch(real_store)

    assert {each.id for each in seen or ()} == {once.holder.lease, retried.holder.lease}
    for each in seen or ():
        assert await sweep(real_store, each.id, seen=each.ends) == Swept(1, is_done=True)
    assert (await real_store.state_of(once.id), await real_store.state_of(retried.id)) == ("FAILED", "CREATED")


async def test_audit_repairs_and_settles(real_store: Store) -> None:
    waiting, held = await real_store.enqueue(), await real_store.running()
    await real_store.redis.delete(real_store.keys.ready(Priority.NORMAL))
    await real_store.redis.zrem(real_store.keys.workers, held.holder.lease)
    await fill_memory(real_store)

    assert (await audit(real_store, JobState.CREATED)).repaired == 1
    ((job_id, lease),) = (await audit(real_store, JobState.RUNNING)).suspects
    assert await settle(real_store, job_id, lease)

    assert [claim.job_id for claim in await real_store.claim(await real_store.lease(), free=5)] == [waiting]


async def test_claims_pause_on_a_new_server_and_leases_and_jobs_are_restored(real_store: Store) -> None:
    lease, job_id = await real_store.lease(), await real_store.enqueue()
    await real_store.redis.set(f"{real_store.keys.prefix}:epoch", "run-1")
    await real_store.redis.zrem(real_store.keys.workers, lease)
    await fill_memory(real_store)

    await real_store.run(leases.restore(real_store.keys, lease, 30.0))
    call = claims_store.claim(
        real_store.keys, lease=lease, worker="w", host="h", free=1, settings=real_store.settings, run_id="run-2"
    )
    answer = await real_store.run(call)
    assert isinstance(answer, RetryLater)
    held = Held(job_id, Holder(f"9999999999999999-{'a' * 32}", lease, "worker"))
    assert await adopt(real_store, held)

    assert await real_store.finish(held) == Recorded(JobState.COMPLETED)


async def test_stale_intents_are_removed(real_store: Store) -> None:
    held = await real_store.running()
    await real_store.interrupt(held.id)
    await fill_memory(real_store)

    call = leases.renew(real_store.keys, held.holder.lease, 30.0, [Intent(held.id, 1, None)])
    renewed = await real_store.run(call)

    assert isinstance(renewed, Renewed)
    assert renewed.intents == ()
