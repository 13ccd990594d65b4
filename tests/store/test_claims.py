"""Claims give waiting jobs to live leases: in order, never more than requested, each job to one lease."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import pytest

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import claims as claims_store
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.claims import MAX_CLAIM_BYTES, Claim, Claimed
from oneshot_queue.store.enqueue import When
from oneshot_queue.store.keys import GROUP
from oneshot_queue.store.leases import LeaseLost
from tests.support.builders import Store, a_job_id, a_lease, a_spec
from tests.support.cases import case


def number_of(token: str) -> int:
    number, _, secret = token.partition("-")
    assert len(secret) == 32
    return int(number)


def ids(claims: Iterable[Claim]) -> list[str]:
    return [claim.job_id for claim in claims]


async def test_high_goes_before_normal_before_low_and_each_in_order(store: Store) -> None:
    low, normal, high = [
        await store.enqueue_many(3, a_spec(priority=priority))
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
    ]
    lease = await store.lease()

    first, second = await store.claim(lease, free=5), await store.claim(lease, free=5)

    assert ids(first) == high + normal[:2]
    assert ids(second) == normal[2:] + low


@pytest.mark.parametrize(
    ("workers", "waiting", "free", "taken"),
    [(1, 4, 4, 4), (2, 4, 4, 2), (2, 5, 4, 3), (3, 1, 4, 1), (2, 100, 4, 4), (5, 2, 1, 1)],
)
async def test_claim_takes_a_fair_share_and_wakes_another_worker_for_the_rest(
    store: Store, workers: int, waiting: int, free: int, taken: int
) -> None:
    leases = [await store.lease() for _ in range(workers)]
    await store.enqueue_many(waiting)
    await store.enqueue(when=When(delay_s=60.0))  # counts towards no share
    await store.redis.delete(store.keys.bell)

    answer = await store.claimed(leases[0], free)

    assert len(answer.claims) == taken
    assert await store.redis.exists(store.keys.bell) == (taken < waiting)


async def test_jobs_are_claimed_although_their_index_is_missing(store: Store) -> None:
    leases = [await store.lease() for _ in range(2)]
    (job_id,) = await store.enqueue_many(1)
    await store.redis.delete(store.keys.state(JobState.CREATED))

    assert [claim.job_id for claim in await store.claim(leases[0], free=4)] == [job_id]


async def test_claim_takes_no_more_jobs_than_free_slots(store: Store) -> None:
    enqueued = await store.enqueue_many(5)
    lease = await store.lease()

    claims = await store.claim(lease, free=2)

    assert ids(claims) == enqueued[:2]
    assert await store.pending() == [(enqueued[0], lease), (enqueued[1], lease)]
    assert await store.length() == 5


async def test_claim_takes_no_more_than_100_jobs(store: Store) -> None:
    enqueued = await store.enqueue_many(120)

    answer = await store.claimed(await store.lease(), free=1_000_000)

    assert ids(answer.claims) == enqueued[:100]


async def test_job_that_reaches_the_byte_limit_is_the_last_of_its_claim(store: Store) -> None:
    half = b"x" * (MAX_CLAIM_BYTES // 2)
    enqueued = await store.enqueue_many(3, a_spec(stdin=half))
    lease = await store.lease()

    first, second = [(await store.claimed(lease, free=10)).claims for _ in range(2)]

    assert (ids(first), ids(second)) == (enqueued[:2], enqueued[2:])


async def test_job_beyond_the_byte_limit_is_claimed_alone(store: Store) -> None:
    enqueued = await store.enqueue_many(2, a_spec(["x" * 100_000] * 2, stdin=b"x" * MAX_CLAIM_BYTES))
    lease = await store.lease()

    claims = [ids((await store.claimed(lease, free=10)).claims) for _ in range(2)]

    assert claims == [[enqueued[0]], [enqueued[1]]]


async def test_claim_that_leaves_jobs_waiting_rings_the_bell(store: Store) -> None:
    await store.enqueue_many(2)
    lease = await store.lease()
    await store.redis.delete(store.keys.bell)

    await store.claim(lease, free=1)

    assert await store.redis.llen(store.keys.bell) == 1


async def test_claim_from_an_empty_queue_returns_nothing_and_rings_no_bell(store: Store) -> None:
    lease = await store.lease()

    claims = await store.claim(lease, free=5)

    assert claims == []
    assert await store.key_names() == {"workers", "terms"}


@pytest.mark.parametrize("lease", ["", "no.such.lease", "0123abcd.1"])
async def test_caller_without_a_lease_gets_nothing(store: Store, lease: str) -> None:
    job_id = await store.enqueue()
    before = await store.dump()

    answer = await store.run(
        claims_store.claim(store.keys, lease=lease, worker="w", host="h", free=1, settings=store.settings)
    )
    answer_for_one = await store.claim_one(job_id, lease)

    assert (answer, answer_for_one) == (LeaseLost(), LeaseLost())
    assert await store.dump() == before


async def test_claimed_job_is_running_and_names_its_worker(store: Store) -> None:
    job_id = await store.enqueue()

    (claim,) = await store.claim(lease := await store.lease())

    known = await store.record_of(job_id)
    assert (known.state, known.worker, known.host, known.attempt) == (JobState.RUNNING, "worker", "host", 1)
    assert known.started_ms == known.changed_ms == known.history[-1].at_ms
    assert [(row.state, row.by) for row in known.history] == [("CREATED", "app@host"), ("RUNNING", "worker")]
    stored = await store.redis.hmget(store.keys.job(job_id), "token", "lease")
    assert stored == [claim.token.encode(), lease.encode()]


async def test_tokens_of_one_batch_are_distinct_and_increase(store: Store) -> None:
    await store.enqueue_many(50)

    tokens = [number_of(claim.token) for claim in await store.claim(await store.lease(), free=50)]

    assert tokens == sorted(set(tokens))
    assert len(tokens) == 50


async def test_tokens_of_later_claims_are_greater(store: Store) -> None:
    await store.enqueue_many(4)
    lease = await store.lease()

    tokens = [number_of(claim.token) for _ in range(4) for claim in await store.claim(lease)]

    assert tokens == sorted(set(tokens))


async def test_token_increases_even_if_the_clock_went_back(store: Store) -> None:
    future = 4_102_444_800_000_000  # 2100-01-01 in microseconds
    job_id = await store.enqueue()
    await store.redis.hset(store.keys.job(job_id), "token", future)

    (claim,) = await store.claim(await store.lease())

    assert number_of(claim.token) == future + 1


async def test_concurrent_workers_claim_each_job_once(store: Store) -> None:
    enqueued = await store.enqueue_many(120)
    leases = [await store.lease() for _ in range(6)]
    claimed: list[str] = []

    async def work(lease: str) -> None:
        while claims := await store.claim(lease, free=7):
            claimed.extend(ids(claims))

    async with anyio.create_task_group() as tasks:
        for lease in leases:
            tasks.start_soon(work, lease)

    assert sorted(claimed) == sorted(enqueued)


async def test_claim_one_takes_the_given_job_whatever_its_position(store: Store) -> None:
    enqueued = await store.enqueue_many(3)
    lease = await store.lease()

    answer = await store.claim_one(enqueued[1], lease)

    assert isinstance(answer, Claimed)
    assert ids(list(answer.claims)) == [enqueued[1]]
    assert await store.pending() == [(enqueued[1], lease)]
    assert ids(await store.claim(await store.lease(), free=3)) == [enqueued[0], enqueued[2]]


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.CREATED])
async def test_claim_one_takes_no_job_that_is_not_waiting(store: Store, state: JobState) -> None:
    held, lease = await store.in_state(state), await store.lease()
    before = await store.dump()

    answer = await store.claim_one(held.id, lease)

    assert answer == Claimed((), 0)
    assert await store.dump() == before


async def test_claim_one_takes_no_unknown_job(store: Store) -> None:
    lease = await store.lease()

    answer = await store.claim_one(a_job_id(), lease)

    assert answer == Claimed((), 0)
    assert await store.key_names() == {"workers", "terms"}


async def test_entry_of_a_job_that_runs_elsewhere_returns_to_its_owner(store: Store) -> None:
    owner, other = await store.lease(), await store.lease()
    held = await store.running(lease=owner)
    waiting = await store.enqueue()

    claims = await store.claim(other, free=5)

    assert ids(claims) == [waiting]
    assert await store.pending() == [(held.id, owner), (waiting, other)]
    assert ids(await store.reclaim(owner)) == [held.id]
    assert await store.finish(held) == Recorded(JobState.COMPLETED)
    assert await store.pending() == [(waiting, other)]


async def test_entry_of_the_claimers_own_job_stays_with_it(store: Store) -> None:
    lease = await store.lease()
    held = await store.running(lease=lease)

    claims = await store.claim(lease, free=5)

    assert claims == []
    assert await store.pending() == [(held.id, lease)]


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
async def test_entry_of_a_finished_job_is_removed(store: Store, state: JobState) -> None:
    held = await store.in_state(state)
    await store.redis.xadd(store.keys.ready(Priority.NORMAL), {"id": held.id})
    lease = await store.lease()

    answer = await store.claimed(lease, free=5)

    assert answer == Claimed((), 0)
    assert await store.state_of(held.id) == state
    assert (await store.length(), await store.pending()) == (0, [])


async def test_second_entry_of_a_waiting_job_is_removed(store: Store) -> None:
    job_id = await store.enqueue()
    await store.redis.xadd(store.keys.ready(Priority.NORMAL), {"id": job_id})
    lease = await store.lease()

    claims = await store.claim(lease, free=5)

    assert ids(claims) == [job_id]
    assert await store.pending() == [(job_id, lease)]
    assert await store.length() == 1


async def test_destroyed_group_is_created_again_and_no_job_is_skipped_or_started_twice(store: Store) -> None:
    owner, other = await store.lease(), await store.lease()
    held = await store.running(lease=owner)
    waiting = await store.enqueue_many(2)
    await store.redis.xgroup_destroy(store.keys.ready(Priority.NORMAL), GROUP)

    claims = await store.claim(other, free=10)

    assert ids(claims) == waiting
    assert await store.pending() == [(held.id, owner), (waiting[0], other), (waiting[1], other)]
    assert ids(await store.reclaim(owner)) == [held.id]


async def test_deleted_stream_is_created_again_by_the_next_job(store: Store) -> None:
    lease = await store.lease()
    held = await store.running(lease=lease)
    await store.redis.delete(store.keys.ready(Priority.NORMAL))
    assert await store.claim(lease, free=5) == []

    job_id = await store.enqueue()

    assert ids(await store.claim(lease, free=5)) == [job_id]
    assert await store.finish(held) == Recorded(JobState.COMPLETED)


async def test_claim_one_works_after_the_group_was_destroyed(store: Store) -> None:
    lease = await store.lease()
    await store.running(lease=lease)
    job_id = await store.enqueue()
    await store.redis.xgroup_destroy(store.keys.ready(Priority.NORMAL), GROUP)

    await store.held(job_id, lease)

    assert (job_id, lease) in await store.pending()


@case("R14")
async def test_stream_of_another_type_is_reported_and_not_overwritten(store: Store) -> None:
    lease = await store.lease()
    await store.redis.set(store.keys.ready(Priority.HIGH), "precious")

    answers = await store.connection.run_many(
        [claims_store.claim(store.keys, lease=lease, worker="w", host="h", free=1, settings=store.settings)]
    )

    assert "WRONGTYPE" in str(answers[0])
    assert await store.redis.get(store.keys.ready(Priority.HIGH)) == b"precious"


async def test_reclaim_returns_exactly_what_the_lease_holds(store: Store) -> None:
    mine, other = await store.lease(), await store.lease()
    await store.enqueue_many(2, a_spec(priority="high", stdin=b"in"))
    await store.enqueue_many(2)
    claims = await store.claim(mine, free=4)
    await store.running(lease=other)
    ended = await store.running(lease=mine)
    await store.finish(ended)
    silent = await store.running(lease=mine)
    await store.record(silent, "detect_silence")
    await store.enqueue()
    before = await store.dump()

    again = await store.reclaim(mine)

    assert again[:4] == claims
    assert ids(again[4:]) == [silent.id]
    assert again[4].token == silent.holder.token
    assert await store.dump() == before


async def test_reclaim_returns_many_jobs_in_parts(store: Store) -> None:
    lease = await store.lease()
    await store.enqueue_many(120)
    big = [await store.enqueue(a_spec(stdin=b"x" * 600_000)) for _ in range(3)]
    claims = [*await store.claim(lease, free=100), *await store.claim(lease, free=100), *await store.claim(lease)]
    assert len(claims) == 123

    parts = [await store.reclaim(lease)]
    while parts[-1]:
        parts.append(await store.reclaim(lease, known=[claim.token for part in parts for claim in part]))

    assert [claim for part in parts for claim in part] == claims
    assert [len(part) for part in parts] == [100, 22, 1, 0]
    assert ids(claims)[-3:] == big


async def test_reclaim_under_an_unknown_lease_returns_nothing(store: Store) -> None:
    await store.running()

    assert await store.reclaim(a_lease()) == []


async def test_entry_deleted_while_its_job_runs_affects_no_other_call(store: Store) -> None:
    lease = await store.lease()
    held = await store.running(lease=lease)
    await store.claim(lease)
    entry = await store.redis.hget(store.keys.job(held.id), "entry")
    await store.redis.xdel(store.keys.ready(Priority.NORMAL), entry)
    waiting = await store.enqueue()

    assert await store.reclaim(lease) == []
    assert ids(await store.claim(lease, free=5)) == [waiting]
    assert await store.finish(held) == Recorded(JobState.COMPLETED)
    assert await store.pending() == [(waiting, lease)]


async def test_doorbell_wakes_one_worker_per_ring(store: Store) -> None:
    await store.run(claims_store.ring(store.keys))

    assert await store.run(claims_store.wait_for_bell(store.keys, 0.01)) is True
    assert await store.run(claims_store.wait_for_bell(store.keys, 0.01)) is False
