"""After a server lost its last writes, claiming pauses until the workers have reported what they run."""

from __future__ import annotations

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import claims, leases
from oneshot_queue.store.attempts import Fenced, Holder, Recorded
from oneshot_queue.store.claims import Claimed, RetryLater
from oneshot_queue.store.enqueue import When
from oneshot_queue.store.leases import LeaseLost
from tests.store.recovery import (
    FAILED,
    a_retried_spec,
    adopt,
    audit,
    give_back,
    intents,
    make_due,
    members_of,
    names_of,
    promote,
    rows,
    sweep,
)
from tests.support.builders import Held, Store, a_chunk

LATER_TOKEN = f"9999999999999999-{'a' * 32}"


async def claim_as(store: Store, lease: str, run_id: str) -> Claimed | RetryLater | LeaseLost:
    call = claims.claim(
        store.keys, lease=lease, worker="worker", host="host", free=5, settings=store.settings, run_id=run_id
    )
    return await store.run(call)


async def end_pause(store: Store) -> None:
    assert await store.redis.delete(f"{store.keys.prefix}:settling") == 1


async def lost_claim(store: Store) -> Held:
    """A running job, as stored on a server that lost its claim."""
    lease = await store.lease()
    return Held(await store.enqueue(), Holder(LATER_TOKEN, lease, "worker"))


async def restore(store: Store, lease: str) -> None:
    await store.run(leases.restore(store.keys, lease, 30.0))


# The epoch.


async def test_first_server_of_a_queue_does_not_pause_claiming(store: Store) -> None:
    job_id, lease = await store.enqueue(), await store.lease()

    answer = await claim_as(store, lease, "run-1")

    assert isinstance(answer, Claimed)
    assert [claim.job_id for claim in answer.claims] == [job_id]
    assert await store.redis.get(f"{store.keys.prefix}:epoch") == b"run-1"


async def test_claiming_pauses_on_a_server_that_is_new_to_the_queue(store: Store) -> None:
    job_id, lease = await store.enqueue(), await store.lease()
    await store.redis.set(f"{store.keys.prefix}:epoch", "run-1")

    answer = await claim_as(store, lease, "run-2")

    assert isinstance(answer, RetryLater)
    assert 0 < answer.wait_s <= 5
    assert await store.redis.get(f"{store.keys.prefix}:epoch") == b"run-2"
    assert await store.state_of(job_id) == "CREATED"


async def test_all_claims_pause_and_none_restarts_the_pause(store: Store) -> None:
    await store.enqueue()
    lease, other = await store.lease(), await store.lease()
    await store.redis.set(f"{store.keys.prefix}:epoch", "run-1")
    await claim_as(store, lease, "run-2")
    await store.redis.pexpire(f"{store.keys.prefix}:settling", 2_000)

    for run_id in ("run-2", ""):
        answer = await claim_as(store, other, run_id)
        assert isinstance(answer, RetryLater)
        assert answer.wait_s <= 2

    await end_pause(store)
    answer = await claim_as(store, other, "run-2")
    assert isinstance(answer, Claimed)
    assert len(answer.claims) == 1


async def test_nothing_expires_or_is_promoted_while_claiming_is_paused(store: Store) -> None:
    late, due = await store.enqueue(when=When(expires_s=60.0)), await store.enqueue(when=When(delay_s=60.0))
    lease = await store.lease()
    await make_due(store, "expiring", late)
    await make_due(store, "delayed", due)
    await store.redis.set(f"{store.keys.prefix}:epoch", "run-1")

    await claim_as(store, lease, "run-2")

    assert await store.state_of(late) == "CREATED"
    assert await members_of(store, "delayed") == [due]


async def test_caller_without_a_lease_changes_no_epoch(store: Store) -> None:
    assert await claim_as(store, "nobody.1", "run-1") == LeaseLost()

    assert await store.key_names() == set()


# Leases.


async def test_lost_lease_record_is_restored(store: Store) -> None:
    await restore(store, "w.1")

    assert await intents(store, "w.1") == ()
    assert await store.redis.hget(f"{store.keys.prefix}:terms", "w.1") == b"30000"


async def test_registered_lease_is_not_changed(store: Store) -> None:
    lease = await store.lease()
    before = await store.dump()

    await restore(store, lease)

    assert await store.dump() == before


async def test_condemned_lease_stays_condemned(store: Store) -> None:
    lease = await store.lease()
    await store.redis.zadd(store.keys.workers, {lease: 0})

    await restore(store, lease)

    renewed = await store.run(leases.renew(store.keys, lease, 30.0))
    assert renewed == LeaseLost()


async def test_intents_of_a_restored_lease_arrive(store: Store) -> None:
    held = await store.running()
    await store.interrupt(held.id)
    await store.redis.zrem(store.keys.workers, held.holder.lease)

    await restore(store, held.holder.lease)

    assert [intent.job_id for intent in await intents(store, held.holder.lease)] == [held.id]


# Jobs.


async def test_adopted_attempt_is_running_for_its_holder(store: Store) -> None:
    held = await lost_claim(store)

    assert await adopt(store, held, ago_ms=0)

    known = await store.record_of(held.id)
    assert (known.state, known.attempt, known.worker, known.host) == (JobState.RUNNING, 1, "worker", "host")
    assert await rows(store, held.id) == [(1, "CREATED", None), (1, "RUNNING", "adopted")]
    assert await store.pending() == [(held.id, held.holder.lease)]
    assert await store.length() == 1
    assert await members_of(store, "state:RUNNING") == [held.id]
    assert await store.append(held, a_chunk(1)) == Recorded()
    assert await store.finish(held) == Recorded(JobState.COMPLETED)
    assert await store.length() == 0


async def test_adopted_job_is_not_claimed_by_others(store: Store) -> None:
    held = await lost_claim(store)
    await adopt(store, held)

    for lease in (await store.lease(), held.holder.lease):
        assert await store.claim(lease, free=5) == []
        assert await store.claim_one(held.id, lease) == Claimed((), 0)

    assert await store.pending() == [(held.id, held.holder.lease)]
    assert [claim.token for claim in await store.reclaim(held.holder.lease)] == [LATER_TOKEN]


async def test_recorded_attempt_is_kept(store: Store) -> None:
    for held in (await store.running(), await store.in_state(JobState.IDLE)):
        before = await store.dump()

        assert await adopt(store, held)
        assert await adopt(store, held)

        assert await store.dump() == before


async def test_repeated_adoption_changes_nothing(store: Store) -> None:
    held = await lost_claim(store)
    await adopt(store, held)
    before = await store.dump()

    assert await adopt(store, held)

    assert await store.dump() == before


async def test_adopted_delayed_job_leaves_the_delayed_set(store: Store) -> None:
    job_id = await store.enqueue(when=When(delay_s=60.0, expires_s=90.0))
    held = Held(job_id, Holder(LATER_TOKEN, await store.lease(), "worker"))

    assert await adopt(store, held)

    assert await names_of(store, "delayed") == await names_of(store, "expiring") == set()
    known = await store.record_of(job_id)
    assert (known.due_ms, known.expires_ms) == (None, None)
    assert (await promote(store)).count == 0


async def test_job_that_another_lease_holds_is_not_adopted(store: Store) -> None:
    other = await store.running()
    held = Held(other.id, Holder(LATER_TOKEN, await store.lease(), "worker"))
    before = await store.dump()

    assert not await adopt(store, held)

    assert await store.dump() == before
    assert await store.finish(held) == Fenced()


async def test_finished_unknown_and_later_jobs_are_not_adopted(store: Store) -> None:
    ended = await store.finished()
    retried = await store.running(a_retried_spec())
    await store.finish(retried, FAILED, retry_after_s=0.0)
    returned = await store.running()
    await give_back(store, returned)
    before = await store.dump()

    for held in (ended, retried, returned, Held("nosuchjob", ended.holder)):
        assert not await adopt(store, held)

    assert await store.dump() == before


async def test_result_is_recorded_after_adoption(store: Store) -> None:
    held = await lost_claim(store)
    assert await store.finish(held) == Fenced()

    assert await adopt(store, held)
    assert await store.finish(held) == Recorded(JobState.COMPLETED)

    assert await rows(store, held.id) == [(1, "CREATED", None), (1, "RUNNING", "adopted"), (1, "COMPLETED", "exit")]


async def test_lost_result_is_recorded_again(store: Store) -> None:
    held = await store.running()

    assert await adopt(store, held)
    assert await store.finish(held) == Recorded(JobState.COMPLETED)
    assert not await adopt(store, held)
    assert await store.finish(held) == Recorded()


async def test_next_attempt_is_adopted_once_the_last_result_is_recorded(store: Store) -> None:
    first = await store.running(a_retried_spec())
    second = Held(first.id, Holder(LATER_TOKEN, await store.lease(), "worker"), attempt=2)
    assert not await adopt(store, second)

    await store.finish(first, FAILED, retry_after_s=0.0)

    assert await adopt(store, second)
    assert await store.finish(second) == Recorded(JobState.COMPLETED)


async def test_job_is_adopted_from_a_stream_without_a_group(store: Store) -> None:
    held = await lost_claim(store)
    await store.redis.delete(store.keys.ready(Priority.NORMAL))

    assert await adopt(store, held)

    assert await store.pending() == [(held.id, held.holder.lease)]


async def test_adopted_job_is_settled_with_its_lease(store: Store) -> None:
    held = await lost_claim(store)
    await adopt(store, held)

    await sweep(store, held.holder.lease)

    assert await store.state_of(held.id) == "FAILED"


async def test_adopted_job_without_a_registered_lease_is_reported(store: Store) -> None:
    held = await lost_claim(store)
    await store.redis.zrem(store.keys.workers, held.holder.lease)
    await adopt(store, held)

    assert (await audit(store, JobState.RUNNING)).suspects == ((held.id, held.holder.lease),)


async def test_interrupt_reaches_an_adopted_job(store: Store) -> None:
    held = await lost_claim(store)
    await adopt(store, held)

    await store.interrupt(held.id)

    assert [intent.attempt for intent in await intents(store, held.holder.lease)] == [1]
