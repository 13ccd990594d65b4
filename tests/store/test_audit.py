"""An audit walks the state indexes to find jobs that no worker would find, and repairs or reports them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import checkup
from oneshot_queue.store.attempts import Fenced, Recorded
from oneshot_queue.store.enqueue import When
from oneshot_queue.store.keys import GROUP
from oneshot_queue.store.sweep import Audited, Swept
from tests.store.recovery import a_retried_spec, audit, give_back, members_of, names_of, rows, settle, sweep
from tests.support.builders import Store, a_lease, a_long_spec, a_spec

Harm = Callable[[Store, str], Awaitable[object]]

STREAM = Priority.NORMAL


async def entry_of(store: Store, job_id: str) -> str:
    entry: bytes = await store.redis.hget(store.keys.job(job_id), "entry")
    return entry.decode()


async def deleted(store: Store, job_id: str) -> None:
    await store.redis.xdel(store.keys.ready(STREAM), await entry_of(store, job_id))


async def stream_deleted(store: Store, job_id: str) -> None:
    await store.redis.delete(store.keys.ready(STREAM))


async def delivered_to_no_worker(store: Store, job_id: str) -> None:
    """The state after a claim that failed half-way."""
    stream = store.keys.ready(STREAM)
    await store.redis.xgroup_create(stream, GROUP, "0")
    await store.redis.xreadgroup(GROUP, "gone.1", {stream: ">"})


async def dropped_with_its_consumer(store: Store, job_id: str) -> None:
    await delivered_to_no_worker(store, job_id)
    assert await store.redis.xgroup_delconsumer(store.keys.ready(STREAM), GROUP, "gone.1") == 1


async def skipped_by_a_new_group(store: Store, job_id: str) -> None:
    await store.redis.xgroup_create(store.keys.ready(STREAM), GROUP, "$")


async def entry_field_deleted(store: Store, job_id: str) -> None:
    await store.redis.hdel(store.keys.job(job_id), "entry")


@pytest.mark.parametrize(
    "harm",
    [
        deleted,
        stream_deleted,
        delivered_to_no_worker,
        dropped_with_its_consumer,
        skipped_by_a_new_group,
        entry_field_deleted,
    ],
)
async def test_waiting_job_without_a_deliverable_entry_gets_a_new_one(store: Store, harm: Harm) -> None:
    job_id = await store.enqueue()
    await harm(store, job_id)
    lease = await store.lease()
    if harm is not entry_field_deleted:  # a claim would take its entry for a foreign one, and remove it
        assert await store.claim(lease, free=5) == []

    assert await audit(store, JobState.CREATED) == Audited(1, 1, ())

    assert await audit(store, JobState.CREATED) == Audited(1, 0, ())
    assert [claim.job_id for claim in await store.claim(lease, free=5)] == [job_id]
    assert await rows(store, job_id) == [(1, "CREATED", None), (1, "RUNNING", None)]
    assert await store.length() == 1


async def test_audit_does_not_change_healthy_jobs(store: Store) -> None:
    lease = await store.lease()
    claimed = await store.running(lease=lease)
    returned = await store.running(lease=lease)
    await give_back(store, returned)
    await store.enqueue()
    await store.enqueue(when=When(delay_s=60.0))
    idle = await store.in_state(JobState.IDLE)
    before = await store.dump()

    assert await audit(store, JobState.CREATED) == Audited(3, 0, ())
    assert await audit(store, JobState.RUNNING) == Audited(1, 0, ())
    assert await audit(store, JobState.IDLE) == Audited(1, 0, ())

    assert await store.dump() == before
    assert {claimed.id} == set(await members_of(store, "state:RUNNING"))
    assert {idle.id} == set(await members_of(store, "state:IDLE"))


async def test_delayed_job_missing_from_the_delayed_set_is_added_again(store: Store) -> None:
    job_id = await store.enqueue(when=When(delay_s=60.0))
    before = await store.dump()
    await store.redis.delete(f"{store.keys.prefix}:delayed")

    assert await audit(store, JobState.CREATED) == Audited(1, 1, ())

    assert await store.dump() == before
    assert await audit(store, JobState.CREATED) == Audited(1, 0, ())
    assert await store.claim(await store.lease()) == []
    assert (await store.record_of(job_id)).due_ms is not None


@pytest.mark.parametrize("due", ["soon", "1" * 16, ""])
async def test_delayed_job_with_an_unreadable_due_time_is_queued(store: Store, due: str) -> None:
    job_id = await store.enqueue(when=When(delay_s=60.0))
    await store.redis.delete(f"{store.keys.prefix}:delayed")
    await store.redis.hset(store.keys.job(job_id), "due", due)

    assert await audit(store, JobState.CREATED) == Audited(1, 1, ())

    held = await store.held(job_id, await store.lease())
    assert await store.finish(held) == Recorded(JobState.COMPLETED)


@pytest.mark.parametrize("state", [JobState.CREATED, JobState.RUNNING, JobState.IDLE])
async def test_ids_of_missing_jobs_are_removed_from_the_index(store: Store, state: JobState) -> None:
    ended, gone = await store.finished(), await store.finished()
    await store.redis.delete(store.keys.job(gone.id))
    own = await store.in_state(state)
    await store.redis.zadd(store.keys.state(state), dict.fromkeys((ended.id, gone.id, "{x}:y z"), 1))

    assert (await audit(store, state)).repaired == 3

    assert await members_of(store, f"state:{state}") == [own.id]
    assert await store.state_of(ended.id) == "COMPLETED"
    assert (await audit(store, state)).repaired == 0


@pytest.mark.parametrize("state", [JobState.CREATED, JobState.RUNNING, JobState.IDLE])
@pytest.mark.parametrize("field", [{"attempt": "many"}, {"state": "BOGUS"}, {"priority": "urgent"}])
async def test_unreadable_job_is_left_to_the_doctor(store: Store, state: JobState, field: dict[str, str]) -> None:
    damaged, replaced = await store.in_state(state), await store.in_state(state)
    await store.redis.hset(store.keys.job(damaged.id), mapping=field)
    await store.redis.delete(store.keys.job(replaced.id))
    await store.redis.set(store.keys.job(replaced.id), "x")
    before = await store.dump()

    assert await audit(store, state) == Audited(2, 0, ())

    assert await store.dump() == before


@pytest.mark.parametrize("state", [JobState.CREATED, JobState.RUNNING, JobState.IDLE])
async def test_job_in_the_wrong_index_moves_to_the_right_one(store: Store, state: JobState) -> None:
    ended = await store.finished()
    own = f"state:{JobState.COMPLETED}"
    before = await store.redis.zscore(f"{store.keys.prefix}:{own}", ended.id)
    await store.redis.delete(f"{store.keys.prefix}:{own}")
    await store.redis.zadd(store.keys.state(state), {ended.id: 1})

    assert await audit(store, state) == Audited(1, 1, ())

    assert await members_of(store, f"state:{state}") == []
    assert await store.redis.zscore(f"{store.keys.prefix}:{own}", ended.id) == before


@pytest.mark.parametrize("kind", ["spec", "stdin"])
@pytest.mark.parametrize("is_too_large", [True, False])
async def test_job_whose_spec_or_stdin_is_damaged_gets_no_entry(store: Store, kind: str, is_too_large: bool) -> None:
    job_id = await store.enqueue(a_long_spec(stdin=b"in"))
    key = f"{store.keys.prefix}:{kind}:{job_id}"
    await store.redis.delete(key)
    if is_too_large:
        await store.redis.setrange(key, 1_048_576, "x")
    else:
        await store.redis.rpush(key, "x")
    assert (await store.claimed(await store.lease())).set_aside == 1

    assert await audit(store, JobState.CREATED) == Audited(1, 0, ())
    call = checkup.examine_index(store.keys, JobState.CREATED, 0, repairs=True, settings=store.settings)
    anomalies = (await store.run(call)).anomalies

    assert [(each.code, each.subject) for each in anomalies] == [("unreadable-job", job_id)]
    assert await store.length() == 0
    assert await store.state_of(job_id) == "CREATED"


async def test_running_job_without_a_lease_is_reported_and_not_changed(store: Store) -> None:
    held, well = await store.running(), await store.running()
    await store.redis.zrem(store.keys.workers, held.holder.lease)
    before = await store.dump()

    assert await audit(store, JobState.RUNNING) == Audited(2, 0, ((held.id, held.holder.lease),))

    assert await store.dump() == before
    assert await store.state_of(well.id) == "RUNNING"


async def test_silent_job_of_a_condemned_lease_is_reported(store: Store) -> None:
    held = await store.in_state(JobState.IDLE)
    await store.redis.zadd(store.keys.workers, {held.holder.lease: 0})

    assert (await audit(store, JobState.IDLE)).suspects == ((held.id, held.holder.lease),)


async def test_audit_starts_at_the_given_rank(store: Store) -> None:
    ids = await store.enqueue_many(150)
    await store.redis.zadd(store.keys.state(JobState.CREATED), {each: number for number, each in enumerate(ids)})
    await store.redis.delete(store.keys.ready(STREAM))

    assert await audit(store, JobState.CREATED, 0) == Audited(100, 100, ())
    assert await audit(store, JobState.CREATED, 100) == Audited(50, 50, ())
    assert await audit(store, JobState.CREATED, 150) == Audited(0, 0, ())

    assert await store.length() == 150


async def test_job_can_finish_after_its_consumer_was_deleted(store: Store) -> None:
    held = await store.running()
    await store.redis.xgroup_delconsumer(store.keys.ready(STREAM), GROUP, held.holder.lease)
    assert await store.pending() == []

    assert await store.finish(held) == Recorded(JobState.COMPLETED)

    assert await store.length() == 0


async def test_job_of_a_deleted_consumer_is_found_when_its_worker_is_lost_too(store: Store) -> None:
    held = await store.running()
    await store.redis.xgroup_delconsumer(store.keys.ready(STREAM), GROUP, held.holder.lease)
    assert await sweep(store, held.holder.lease) == Swept(0, is_done=True)
    ((job_id, lease),) = (await audit(store, JobState.RUNNING)).suspects

    assert await settle(store, job_id, lease)

    known = await store.record_of(held.id)
    assert (known.state, known.cause, known.is_confirmed) == (JobState.FAILED, Cause.WORKER_LOST, False)
    assert known.error == "it is gone"
    assert await store.length() == 0


async def test_settled_job_is_retried_if_its_spec_says_so(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await store.redis.zrem(store.keys.workers, held.holder.lease)

    assert await settle(store, held.id, held.holder.lease)

    assert (await rows(store, held.id))[-2:] == [(1, "FAILED", "worker_lost"), (2, "CREATED", "retry")]
    assert not await settle(store, held.id, held.holder.lease)
    assert await store.record(held) == Fenced()
    assert (await store.held(held.id, await store.lease())).attempt == 2


async def test_settled_job_ends_interrupted_if_an_interrupt_is_recorded(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await store.interrupt(held.id, by="ops@host")
    await store.redis.zrem(store.keys.workers, held.holder.lease)

    assert await settle(store, held.id, held.holder.lease)

    known = await store.record_of(held.id)
    assert (known.state, known.history[-1].by, known.is_confirmed) == (JobState.INTERRUPTED, "ops@host", False)
    assert not await names_of(store, "intents")


async def test_only_a_running_job_under_the_given_unregistered_lease_is_settled(store: Store) -> None:
    lease, other = await store.lease(), a_lease()
    held = await store.running(lease=lease)
    waiting, ended = await store.enqueue(a_spec()), await store.finished()
    before = await store.dump()

    assert not await settle(store, held.id, lease)  # its lease is registered
    assert not await settle(store, held.id, other)
    assert not await settle(store, held.id, "")
    for job_id in (waiting, ended.id, "nosuchjob"):
        assert not await settle(store, job_id, "")
        assert not await settle(store, job_id, other)

    assert await store.dump() == before


async def test_job_that_another_lease_now_holds_is_not_settled(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await sweep(store, held.holder.lease)
    again = await store.held(held.id, await store.lease())

    assert not await settle(store, held.id, held.holder.lease)

    assert await store.finish(again) == Recorded(JobState.COMPLETED)


async def test_running_job_without_a_lease_field_is_settled(store: Store) -> None:
    held = await store.running()
    await store.redis.hdel(store.keys.job(held.id), "lease")
    assert (await audit(store, JobState.RUNNING)).suspects == ((held.id, ""),)

    assert await settle(store, held.id, "")

    assert await store.state_of(held.id) == "FAILED"
