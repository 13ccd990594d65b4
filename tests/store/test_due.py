"""A delayed job waits outside the streams, and a job that is not started in time fails by itself."""

from __future__ import annotations

import anyio
import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import enqueue, leases, retention
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.claims import Claimed, RetryLater, Returned
from oneshot_queue.store.due import Promoted
from oneshot_queue.store.enqueue import Enqueued, Full, When
from oneshot_queue.store.steering import Ended
from tests.store.recovery import a_retried_spec, audit, give_back, make_due, members_of, names_of, promote, rows
from tests.support.builders import NOBODY, Held, Store, a_job_id, a_spec, an_outcome

LATER = When(delay_s=60.0)
IN_TIME = When(expires_s=60.0)


async def test_delayed_job_waits_outside_the_streams(store: Store) -> None:
    job_id = await store.enqueue(when=When(delay_s=1.5))

    known = await store.record_of(job_id)
    assert (known.state, known.due_ms) == (JobState.CREATED, known.created_ms + 1_500)
    assert await store.redis.zscore(f"{store.keys.prefix}:delayed", job_id) == known.due_ms
    assert await store.length() == 0
    assert await store.claim(await store.lease(), free=5) == []
    assert await members_of(store, "state:CREATED") == [job_id]


async def test_job_waits_until_its_due_time(store: Store) -> None:
    now_ms = await store.run(leases.register(store.keys, "w.1", 30.0))

    job_id = await store.enqueue(when=When(at_ms=now_ms + 90_000))

    assert (await store.record_of(job_id)).due_ms == now_ms + 90_000


@pytest.mark.parametrize("when", [When(delay_s=0.0), When(at_ms=0), When(at_ms=1)])
async def test_job_that_is_already_due_is_queued(store: Store, when: When) -> None:
    job_id = await store.enqueue(when=when)

    assert (await store.record_of(job_id)).due_ms is None
    assert await members_of(store, "delayed") == []
    assert [claim.job_id for claim in await store.claim(await store.lease())] == [job_id]


async def test_enqueueing_a_delayed_job_again_changes_nothing(store: Store) -> None:
    job_id = await store.enqueue(when=LATER)
    before = await store.dump()

    for when in (LATER, When(delay_s=1.0), enqueue.AT_ONCE, IN_TIME):
        call = enqueue.enqueue(store.keys, job_id, a_spec(), by="app", max_length=9, when=when)
        assert await store.run(call) == Enqueued(created=False)

    assert await store.dump() == before


async def test_delayed_jobs_count_towards_the_queues_limit(store: Store) -> None:
    await store.enqueue(when=LATER)
    await store.enqueue()

    answer = await store.run(enqueue.enqueue(store.keys, a_job_id(), a_spec(), by="app", max_length=2))

    assert answer == Full(2)


@pytest.mark.parametrize("priority", list(Priority))
async def test_promotion_moves_due_jobs_to_their_streams(store: Store, priority: Priority) -> None:
    due, not_due = [await store.enqueue(a_spec(priority=priority), when=LATER) for _ in range(2)]
    await make_due(store, "delayed", due)
    await store.redis.delete(store.keys.bell)

    answer = await promote(store)

    assert answer.count == 1
    assert 50 < (answer.next_s or 0) <= 60
    assert await members_of(store, "delayed") == [not_due]
    assert await store.length(priority) == 1
    assert await store.redis.llen(store.keys.bell) == 1
    assert (await store.record_of(due)).due_ms is None
    (claim,) = await store.claim(await store.lease(), free=5)
    assert (claim.job_id, await rows(store, due)) == (due, [(1, "CREATED", None), (1, "RUNNING", None)])


async def test_promotion_moves_100_jobs_at_a_time_in_order_of_due_time(store: Store) -> None:
    ids = [a_job_id() for _ in range(120)]
    calls = [enqueue.enqueue(store.keys, each, a_spec(), by="app", max_length=999, when=LATER) for each in ids]
    await store.connection.run_many(calls)
    await store.redis.zadd(f"{store.keys.prefix}:delayed", {each: number for number, each in enumerate(ids, 1)})

    assert await promote(store) == Promoted(100, 0.0)
    assert await promote(store) == Promoted(20, None)

    lease = await store.lease()
    claimed = [claim.job_id for _ in range(2) for claim in await store.claim(lease, free=100)]
    assert claimed == ids


async def test_concurrent_promotions_create_one_entry(store: Store) -> None:
    job_id = await store.enqueue(when=LATER)
    await make_due(store, "delayed", job_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(promote, store)

    assert await store.length() == 1


async def test_promotion_of_an_idle_queue_writes_nothing(store: Store) -> None:
    assert await promote(store) == Promoted(0, None)

    assert await store.key_names() == set()


async def test_claim_takes_jobs_that_are_due(store: Store) -> None:
    job_id = await store.enqueue(when=LATER)
    await make_due(store, "delayed", job_id)

    assert [claim.job_id for claim in await store.claim(await store.lease())] == [job_id]


async def test_claim_one_returns_the_wait_until_the_job_is_due(store: Store) -> None:
    job_id, lease = await store.enqueue(when=LATER), await store.lease()

    answer = await store.claim_one(job_id, lease)

    assert isinstance(answer, RetryLater)
    assert 50 < answer.wait_s <= 60
    await make_due(store, "delayed", job_id)
    assert isinstance(await store.claim_one(job_id, lease), Claimed)


@pytest.mark.parametrize("due", ["soon", "", "nan", "1e400", "-1", "9" * 40])
async def test_claim_one_tolerates_an_unreadable_due_time(store: Store, due: str) -> None:
    job_id, lease = await store.enqueue(when=LATER), await store.lease()
    await store.redis.hset(store.keys.job(job_id), "due", due)

    assert await store.claim_one(job_id, lease) == Claimed((), 0)

    # It becomes due at the time that the index states.
    await store.redis.zadd(store.keys.delayed, {job_id: 1})
    answer = await store.claim_one(job_id, lease)
    assert isinstance(answer, Claimed)
    assert [claim.job_id for claim in answer.claims] == [job_id]


@pytest.mark.parametrize("due", ["soon", "nan"])
async def test_audit_queues_a_job_without_a_readable_due_time(store: Store, due: str) -> None:
    job_id = await store.enqueue(when=LATER)
    await store.redis.zrem(store.keys.delayed, job_id)
    await store.redis.hset(store.keys.job(job_id), "due", due)

    assert (await audit(store, JobState.CREATED)).repaired == 1

    assert [claim.job_id for claim in await store.claim(await store.lease())] == [job_id]


@pytest.mark.parametrize("when", [LATER, When(delay_s=60.0, expires_s=90.0)])
async def test_interrupt_of_a_delayed_job_removes_it_everywhere(store: Store, when: When) -> None:
    job_id = await store.enqueue(a_spec(stdin=b"in"), when=when)

    assert isinstance(await store.interrupt(job_id), Ended)

    assert await names_of(store, "delayed") == await names_of(store, "expiring") == set()
    assert await store.state_of(job_id) == "INTERRUPTED"
    await make_due(store, "delayed", job_id)
    assert (await promote(store)).count == 1
    assert await store.length() == 0


async def test_rejected_delayed_job_is_removed_everywhere(store: Store) -> None:
    job_id = await store.enqueue(when=When(delay_s=60.0, expires_s=90.0))

    failed = an_outcome(JobState.FAILED, cause=Cause.REJECTED)
    assert await store.finish(Held(job_id, NOBODY), failed) == Recorded(JobState.FAILED)

    assert await names_of(store, "delayed") == await names_of(store, "expiring") == set()


@pytest.mark.parametrize("when", [IN_TIME, When(delay_s=90.0, expires_s=60.0)], ids=["queued", "delayed"])
async def test_job_not_started_before_its_deadline_fails(store: Store, when: When) -> None:
    job_id = await store.enqueue(when=when)
    known = await store.record_of(job_id)
    assert known.expires_ms == known.created_ms + 60_000
    await make_due(store, "expiring", job_id)

    assert await promote(store) == Promoted(1, None)

    known = await store.record_of(job_id)
    assert (known.state, known.cause, known.is_confirmed) == (JobState.FAILED, Cause.EXPIRED, True)
    assert known.error
    assert await rows(store, job_id) == [(1, "CREATED", None), (1, "FAILED", "expired")]
    assert await store.length() == 0
    assert await names_of(store, "delayed") == await names_of(store, "expiring") == set()
    for name in await names_of(store, job_id):
        assert await store.redis.ttl(f"{store.keys.prefix}:{name}") > 0


async def test_started_job_does_not_expire(store: Store) -> None:
    job_id = await store.enqueue(when=IN_TIME)

    held = await store.held(job_id, await store.lease())

    assert await names_of(store, "expiring") == set()
    assert (await store.record_of(job_id)).expires_ms is None
    await store.redis.zadd(f"{store.keys.prefix}:expiring", {job_id: 1})
    await promote(store)
    assert await store.state_of(held.id) == "RUNNING"


async def test_requeued_job_keeps_its_start_deadline(store: Store) -> None:
    job_id = await store.enqueue(when=IN_TIME)
    expires_ms = (await store.record_of(job_id)).expires_ms
    held = await store.held(job_id, await store.lease())

    assert await give_back(store, held) == Returned()

    assert (await store.record_of(job_id)).expires_ms == expires_ms
    assert await store.redis.zscore(f"{store.keys.prefix}:expiring", job_id) == expires_ms
    held = await store.held(job_id, await store.lease())
    assert await names_of(store, "expiring") == set()
    assert (await store.record_of(held.id)).expires_ms is None


@pytest.mark.parametrize("expiry", ["soon", "", "nan", "1e400", "-1", "9" * 40])
async def test_job_with_an_unreadable_start_deadline_is_requeued(store: Store, expiry: str) -> None:
    job_id = await store.enqueue(when=IN_TIME)
    held = await store.held(job_id, await store.lease())
    await store.redis.hset(store.keys.job(job_id), "expiry", expiry)

    assert await give_back(store, held) == Returned()

    assert await names_of(store, "expiring") == set()
    assert [claim.job_id for claim in await store.claim(await store.lease())] == [job_id]


async def test_retry_of_a_job_that_started_in_time_does_not_expire(store: Store) -> None:
    job_id = await store.enqueue(a_retried_spec(retries=1), when=IN_TIME)
    held = await store.held(job_id, await store.lease())

    await store.finish(held, an_outcome(JobState.FAILED), retry_after_s=0.0)
    held = await store.held(job_id, await store.lease())
    assert await give_back(store, held) == Returned()

    assert await names_of(store, "expiring") == set()
    assert (await store.record_of(job_id)).expires_ms is None


async def test_claim_never_starts_expired_jobs_however_many_there_are(store: Store) -> None:
    ids = [a_job_id() for _ in range(230)]
    calls = [enqueue.enqueue(store.keys, each, a_spec(), by="app", max_length=999, when=IN_TIME) for each in ids]
    await store.connection.run_many(calls)
    await make_due(store, "expiring", *ids)
    lease, fresh = await store.lease(), await store.enqueue()

    one = await store.claim_one(ids[-1], lease)
    claimed = [claim.job_id for _ in range(3) for claim in await store.claim(lease, free=100)]

    assert one == Claimed((), 0)
    assert claimed == [fresh]
    assert {await store.state_of(each) for each in ids} == {"FAILED"}
    assert await store.length() == 1


async def test_promotion_returns_the_time_until_the_next_job_is_due_or_expires(store: Store) -> None:
    await store.enqueue(when=When(delay_s=90.0, expires_s=30.0))
    await store.enqueue(when=When(delay_s=60.0))

    answer = await promote(store)

    assert answer.count == 0
    assert 20 < (answer.next_s or 0) <= 30


async def test_expired_job_is_pruned_like_a_failed_one(store: Store) -> None:
    job_id = await store.enqueue(when=IN_TIME)
    await make_due(store, "expiring", job_id)
    await promote(store)
    await store.redis.zadd(store.keys.state(JobState.FAILED), {job_id: 1})

    assert await store.run(retention.prune(store.keys, store.settings)) == 1

    assert await names_of(store, job_id) == set()


async def test_waiting_jobs_are_never_pruned(store: Store) -> None:
    job_id = await store.enqueue(when=LATER)
    await store.redis.zadd(store.keys.state(JobState.CREATED), {job_id: 1})

    assert await store.run(retention.prune(store.keys, store.settings)) == 0

    assert await store.state_of(job_id) == "CREATED"


async def test_members_that_are_not_waiting_jobs_are_removed(store: Store) -> None:
    ended, running = await store.finished(), await store.running()
    foreign = dict.fromkeys((ended.id, running.id, "nosuchjob", "{x}:y z"), 1)
    for name in ("delayed", "expiring"):
        await store.redis.zadd(f"{store.keys.prefix}:{name}", foreign)
    before = {each: await store.record_of(each) for each in (ended.id, running.id)}

    assert (await promote(store)).count == 8

    assert await names_of(store, "delayed") == await names_of(store, "expiring") == set()
    assert {each: await store.record_of(each) for each in before} == before
    assert await store.length() == 1
