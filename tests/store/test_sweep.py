"""An expired lease is condemned once, its jobs are settled in batches, and then the lease is removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import JobSpec, Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import leases
from oneshot_queue.store.attempts import Fenced, Recorded
from oneshot_queue.store.claims import Returned
from oneshot_queue.store.keys import GROUP
from oneshot_queue.store.leases import LeaseLost
from oneshot_queue.store.sweep import LeaseSeen, NotSwept, Swept
from tests.store.recovery import FAILED, a_retried_spec, give_back, intents, members_of, names_of, rows, sweep, watch
from tests.support.builders import LONG_NAME, Held, Store, a_chunk, a_lease, a_spec


async def end_of(store: Store, lease: str) -> str:
    return next(each.ends for each in await watch(store) or () if each.id == lease)


async def test_leases_are_listed_with_their_end_and_length(store: Store) -> None:
    now_ms = await store.run(leases.register(store.keys, "w.1", 12.5))

    assert await watch(store) == (LeaseSeen("w.1", str(now_ms + 12_500), 12.5),)


async def test_lease_of_unknown_length_is_listed_with_zero(store: Store) -> None:
    await store.redis.zadd(store.keys.workers, {"old.1": 7})

    assert await watch(store) == (LeaseSeen("old.1", "7", 0.0),)


async def test_one_worker_is_the_sweeper_until_its_turn_is_over(store: Store) -> None:
    assert await watch(store, "first.1") == ()
    assert await watch(store, "second.1") is None
    assert await watch(store, "first.1") == ()

    assert 0 < await store.redis.pttl(f"{store.keys.prefix}:sweeper") <= 60_000
    await store.redis.delete(f"{store.keys.prefix}:sweeper")
    assert await watch(store, "second.1") == ()


@pytest.mark.parametrize("is_swept", [False, True], ids=["unregistered", "swept"])
async def test_another_worker_becomes_the_sweeper_once_the_first_ones_lease_is_gone(
    store: Store, is_swept: bool
) -> None:
    first, second = await store.lease(), await store.lease()
    assert await watch(store, first) is not None
    assert await watch(store, second) is None

    for lease in (second, first):
        if is_swept:
            await sweep(store, lease)
        else:
            assert await store.run(leases.unregister(store.keys, lease)) is True
        assert (await watch(store, "third.1") is None) is (lease == second)


async def test_lease_that_was_renewed_meanwhile_is_not_swept(store: Store) -> None:
    held = await store.running()
    seen = await end_of(store, held.holder.lease)
    await store.redis.zincrby(store.keys.workers, 1, held.holder.lease)
    before = await store.dump()

    assert await sweep(store, held.holder.lease, seen=seen) == NotSwept()

    assert await store.dump() == before


async def test_unknown_lease_is_not_swept(store: Store) -> None:
    await store.running()
    before = await store.dump()

    assert await sweep(store, a_lease()) == NotSwept()

    assert await store.dump() == before


async def test_lease_whose_end_did_not_move_is_condemned_and_answers_lost(store: Store) -> None:
    lease = await store.lease()
    await store.redis.zadd(store.keys.workers, {lease: 1})
    await store.enqueue_many(101)
    await store.claim(lease, free=100)
    await store.claim(lease)

    assert await sweep(store, lease, seen="1") == Swept(100, is_done=False)

    assert await end_of(store, lease) == "0"
    assert await store.run(leases.renew(store.keys, lease, 30.0)) == LeaseLost()
    assert await store.claim_one(await store.enqueue(), lease) == LeaseLost()


async def test_sweep_of_a_condemned_lease_continues_whatever_end_was_seen(store: Store) -> None:
    lease = await store.lease()
    await store.redis.zadd(store.keys.workers, {lease: 0})

    assert await sweep(store, lease, seen="1") == Swept(0, is_done=True)


async def test_jobs_are_settled_in_batches_of_100_over_all_priorities(store: Store) -> None:
    lease = await store.lease()
    ids = [each for priority in Priority for each in await store.enqueue_many(70, a_spec(priority=priority))]
    for _ in range(3):
        await store.claim(lease, free=100)

    steps = [await sweep(store, lease) for _ in range(3)]

    assert steps == [Swept(100, is_done=False), Swept(100, is_done=False), Swept(10, is_done=True)]
    assert {await store.state_of(each) for each in ids} == {"FAILED"}
    assert [await store.length(priority) for priority in Priority] == [0, 0, 0]


async def test_jobs_with_very_many_attempts_are_settled_a_few_at_a_time(store: Store) -> None:
    lease = await store.lease()
    ids = await store.enqueue_many(5)
    await store.claim(lease, free=5)
    for job_id in ids:
        await store.redis.hset(store.keys.job(job_id), "attempt", 1_000)

    steps = [await sweep(store, lease) for _ in range(3)]

    assert steps == [Swept(2, is_done=False), Swept(2, is_done=False), Swept(1, is_done=True)]
    assert {await store.state_of(each) for each in ids} == {"FAILED"}


async def test_exactly_100_jobs_are_settled_in_one_call(store: Store) -> None:
    lease = await store.lease()
    await store.enqueue_many(100)
    await store.claim(lease, free=100)

    assert await sweep(store, lease) == Swept(100, is_done=True)


async def test_job_of_a_lost_worker_fails_unconfirmed_with_an_error(store: Store) -> None:
    held = await store.running()
    await store.record(held, "detect_silence", pid=17)

    await sweep(store, held.holder.lease)

    known = await store.record_of(held.id)
    assert (known.state, known.cause, known.error) == (JobState.FAILED, Cause.WORKER_LOST, "it is gone")
    assert (known.is_confirmed, known.pid, known.worker) == (False, 17, "worker")
    assert (known.history[-1].by, known.ended_ms) == ("sweeper", known.history[-1].at_ms)
    assert await members_of(store, "state:FAILED") == [held.id]
    own = {name: content for name, content in (await store.dump()).items() if held.id in name and name != "state"}
    assert all(expires for _, expires, *_ in own.values())


async def test_result_is_confirmed_if_the_processes_are_known_to_be_gone(store: Store) -> None:
    held = await store.running()

    await sweep(store, held.holder.lease, is_confirmed=True)

    assert (await store.record_of(held.id)).is_confirmed


async def test_output_of_a_lost_job_counts_as_kept(store: Store) -> None:
    held = await store.running()
    await store.append(held, a_chunk(1, b"x" * 10), dropped=3)

    await sweep(store, held.holder.lease)

    assert await store.redis.hget(store.keys.counters, "kept") == b"7"
    assert await store.redis.ttl(store.keys.output_head(held.id, 1)) > 0


@pytest.mark.parametrize("spec", [a_spec(), a_retried_spec()], ids=["once", "retried"])
async def test_interrupted_job_of_a_lost_worker_ends_interrupted_and_is_not_retried(
    store: Store, spec: JobSpec
) -> None:
    held = await store.running(spec)
    await store.interrupt(held.id, by="ops@host", reason="enough")

    assert await sweep(store, held.holder.lease) == Swept(1, is_done=True)

    known = await store.record_of(held.id)
    assert (known.state, known.cause, known.reason) == (JobState.INTERRUPTED, Cause.INTERRUPTED, "enough")
    assert (known.is_confirmed, known.history[-1].by) == (False, "ops@host")
    assert not await names_of(store, "intents")


async def test_job_with_retries_starts_again_after_its_delay(store: Store) -> None:
    held = await store.running(a_retried_spec(delay_s=10.0))
    await store.record(held, pid=17)

    assert await sweep(store, held.holder.lease, spread=0.5) == Swept(1, is_done=True)

    known = await store.record_of(held.id)
    assert (known.state, known.attempt, known.is_confirmed) == (JobState.CREATED, 2, True)
    assert (known.worker, known.pid, known.started_ms) == (None, None, None)
    assert known.due_ms == known.changed_ms + 5_000
    assert await members_of(store, "delayed") == [held.id]
    assert await store.length() == 0
    assert await rows(store, held.id) == [
        (1, "CREATED", None),
        (1, "RUNNING", None),
        (1, "FAILED", "worker_lost"),
        (2, "CREATED", "retry"),
    ]


async def test_next_attempt_without_a_delay_is_claimed_at_once(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await sweep(store, held.holder.lease)

    (claim,) = await store.claim(await store.lease())

    assert (claim.job_id, claim.attempt) == (held.id, 2)
    assert int(claim.token.partition("-")[0]) > int(held.holder.token.partition("-")[0])


@pytest.mark.parametrize(
    ("attempt", "delay_ms"), [(1, 1_000), (2, 2_000), (3, 4_000), (4, 5_000), (5, 5_000), (900, 5_000)]
)
async def test_delay_doubles_up_to_its_limit(store: Store, attempt: int, delay_ms: int) -> None:
    held = await store.running(a_retried_spec(retries=1000, delay_s=1.0, retry_max_delay=5.0))
    await store.redis.hset(store.keys.job(held.id), "attempt", attempt)

    await sweep(store, held.holder.lease)

    known = await store.record_of(held.id)
    assert (known.due_ms or 0) - known.changed_ms == delay_ms


async def test_last_attempt_is_not_retried(store: Store) -> None:
    held = await store.running(a_retried_spec(retries=1))
    await sweep(store, held.holder.lease)
    again = await store.held(held.id, await store.lease())

    await sweep(store, again.holder.lease)

    known = await store.record_of(held.id)
    assert (known.state, known.cause, known.attempt) == (JobState.FAILED, Cause.WORKER_LOST, 2)


async def test_job_that_retries_only_other_causes_is_not_retried(store: Store) -> None:
    held = await store.running(a_spec(retries=5, retry_on=("exit",)))

    await sweep(store, held.holder.lease)

    assert await store.state_of(held.id) == "FAILED"


async def test_old_holder_is_fenced_whatever_it_writes(store: Store) -> None:
    lost, again = await store.running(), await store.running(a_retried_spec())
    for held in (lost, again):
        await sweep(store, held.holder.lease)
    taken = await store.held(again.id, await store.lease())
    before = await store.dump()

    for answer in (
        await store.finish(lost),
        await store.record(again, "detect_silence"),
        await store.append(again, a_chunk(1)),
        await store.append(lost, a_chunk(1)),
        await store.finish(again),
    ):
        assert answer == Fenced()
    assert await store.dump() == before
    assert await store.finish(taken) == Recorded(JobState.COMPLETED)


@pytest.mark.parametrize("end", [Store.finish, give_back])
async def test_old_holder_is_not_told_that_it_recorded_the_sweepers_result(
    store: Store, end: Callable[[Store, Held], Awaitable[Any]]
) -> None:
    lost, again = await store.running(), await store.running(a_retried_spec())
    interrupted = await store.running()
    for held in (lost, again):
        await sweep(store, held.holder.lease)
    await store.redis.zrem(store.keys.workers, interrupted.holder.lease)
    await store.interrupt(interrupted.id)
    before = await store.dump()

    for held in (lost, again, interrupted):
        assert await end(store, held) == Fenced()

    assert await store.dump() == before


async def test_attempt_after_a_lost_one_finishes_once_and_may_repeat_it(store: Store) -> None:
    first = await store.running(a_retried_spec())
    await sweep(store, first.holder.lease)
    second = await store.held(first.id, await store.lease())

    assert await store.finish(second, FAILED, retry_after_s=0.0) == Recorded(JobState.CREATED)
    assert await store.finish(second, FAILED, retry_after_s=0.0) == Recorded()

    third = await store.held(first.id, second.holder.lease)
    assert await give_back(store, third) == Returned()
    assert await give_back(store, third) == Recorded()


async def test_entry_of_a_finished_job_is_removed(store: Store) -> None:
    held = await store.running()
    await store.redis.hset(store.keys.job(held.id), "state", "COMPLETED")

    assert await sweep(store, held.holder.lease) == Swept(0, is_done=True)

    assert await store.length() == 0
    assert await store.state_of(held.id) == "COMPLETED"


async def test_entry_without_a_job_is_removed(store: Store) -> None:
    held = await store.running()
    await store.redis.delete(store.keys.job(held.id))

    assert await sweep(store, held.holder.lease) == Swept(0, is_done=True)

    assert (await store.length(), await store.pending()) == (0, [])


async def test_entry_whose_body_is_gone_is_removed(store: Store) -> None:
    held = await store.running()
    await store.redis.delete(store.keys.job(held.id))
    entry = (await store.redis.xrange(store.keys.ready(Priority.NORMAL)))[0][0]
    await store.redis.xdel(store.keys.ready(Priority.NORMAL), entry)

    assert await sweep(store, held.holder.lease) == Swept(0, is_done=True)

    assert await store.pending() == []


async def test_entry_that_is_not_the_jobs_own_is_removed(store: Store) -> None:
    held = await store.running()
    stream, other = store.keys.ready(Priority.NORMAL), await store.lease()
    double = await store.redis.xadd(stream, {"id": held.id})
    await store.redis.xclaim(stream, GROUP, other, 0, [double], force=True, justid=True)

    assert await sweep(store, other) == Swept(0, is_done=True)

    assert await store.pending() == [(held.id, held.holder.lease)]
    assert await store.length() == 1


async def test_job_of_another_lease_returns_to_its_own(store: Store) -> None:
    held, other = await store.running(), await store.lease()
    stream = store.keys.ready(Priority.NORMAL)
    entry = (await store.redis.xrange(stream))[0][0]
    await store.redis.xclaim(stream, GROUP, other, 0, [entry], justid=True)

    assert await sweep(store, other) == Swept(0, is_done=True)

    assert await store.pending() == [(held.id, held.holder.lease)]
    assert await store.state_of(held.id) == "RUNNING"


async def test_job_whose_claim_failed_half_way_waits_again(store: Store) -> None:
    job_id, lease = await store.enqueue(), await store.lease()
    stream = store.keys.ready(Priority.NORMAL)
    await store.redis.xgroup_create(stream, GROUP, "0")
    await store.redis.xreadgroup(GROUP, lease, {stream: ">"})
    assert await store.pending() == [(job_id, lease)]

    assert await sweep(store, lease) == Swept(0, is_done=True)

    assert await rows(store, job_id) == [(1, "CREATED", None)]
    assert [claim.job_id for claim in await store.claim(await store.lease(), free=5)] == [job_id]


async def test_last_call_removes_everything_of_the_lease(store: Store) -> None:
    lease, other = await store.lease(), await store.running()
    for priority in Priority:
        await store.running(a_spec(priority=priority), lease=lease)
    await store.redis.hset(store.keys.intents(lease), "long-gone", "1 -")

    await sweep(store, lease)

    assert await members_of(store, "workers") == [other.holder.lease]
    assert await store.redis.hkeys(f"{store.keys.prefix}:terms") == [other.holder.lease.encode()]
    assert not await names_of(store, "intents")
    for priority in Priority:
        consumers = await store.redis.xinfo_consumers(store.keys.ready(priority), GROUP)
        assert lease.encode() not in [each["name"] for each in consumers]
    assert await store.pending() == [(other.id, other.holder.lease)]
    assert await intents(store, other.holder.lease) == ()


async def test_repeated_sweep_changes_nothing(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await sweep(store, held.holder.lease)
    before = await store.dump()

    assert await sweep(store, held.holder.lease) == NotSwept()
    assert await sweep(store, held.holder.lease, seen="0") == NotSwept()

    assert await store.dump() == before


async def test_sweep_does_not_change_a_finished_job(store: Store) -> None:
    held = await store.finished(JobState.COMPLETED)
    before = await store.record_of(held.id)

    await sweep(store, held.holder.lease)

    assert await store.record_of(held.id) == before


async def test_lease_without_streams_is_swept(store: Store) -> None:
    lease = await store.lease()

    assert await sweep(store, lease) == Swept(0, is_done=True)

    assert await store.key_names() == set()


@pytest.mark.parametrize(
    "fields",
    [
        {"attempt": "x"},
        {"attempt": ""},
        {"attempt": "9" * 40},
        {"priority": "urgent"},
        {"state": "BOGUS"},
        {"retry": "1"},
    ],
    ids=str,
)
async def test_damaged_job_does_not_keep_the_other_jobs_of_its_lease_from_being_settled(
    store: Store, fields: dict[str, str]
) -> None:
    damaged = await store.running()
    held = await store.running(lease=damaged.holder.lease)
    await store.redis.hset(store.keys.job(damaged.id), mapping=fields)

    answer = await sweep(store, held.holder.lease)

    assert isinstance(answer, Swept)
    assert answer.is_done
    assert await store.state_of(held.id) == "FAILED"
    assert (await store.length(), await store.pending()) == (0, [])


@pytest.mark.parametrize("kind", ["job", "text"])
async def test_job_with_a_key_of_another_type_does_not_keep_the_others_from_being_settled(
    store: Store, kind: str
) -> None:
    damaged = await store.running(by=LONG_NAME)
    held = await store.running(lease=damaged.holder.lease)
    key = getattr(store.keys, kind)(damaged.id)
    await store.redis.delete(key)
    await store.redis.sadd(key, "x")

    assert await sweep(store, held.holder.lease) == Swept(1, is_done=True)

    assert await store.state_of(held.id) == "FAILED"
    assert await store.length() == 0
