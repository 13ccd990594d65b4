"""Finished jobs are kept within limits of time, number and size, then removed completely; and a queue is erased."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oneshot_queue.settings import Settings
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import leases, queues, retention, steering
from oneshot_queue.store.keys import presence_key, queues_key
from oneshot_queue.store.retention import erase_common, erase_queue
from oneshot_queue.wire.chunks import pack_chunks
from tests.support.builders import Held, Store, a_chunk, a_job_id, a_spec, an_outcome

HOUR_MS = 3_600_000
FINAL = [state for state in JobState if state.is_final]


async def prune(store: Store, **limits: float) -> int:
    settings = Settings(namespace=store.keys.namespace, **limits)  # type: ignore[arg-type]  # numbers of their fields' kinds
    return await store.run(retention.prune(store.keys, settings))


async def let_pass(store: Store, job_id: str, hours: float) -> None:
    """Move a job's end into the past."""
    for state in FINAL:
        score = await store.redis.zscore(store.keys.state(state), job_id)
        if score is not None:
            await store.redis.zadd(store.keys.state(state), {job_id: score - hours * HOUR_MS})


async def kept_bytes(store: Store) -> int:
    """Return the stored total, which must be the sum of the jobs' rows."""
    each = await store.redis.hgetall(f"{store.keys.prefix}:kept")
    total = int(await store.redis.hget(store.keys.counters, "kept") or 0)
    assert total == sum(int(size) for size in each.values())
    return total


async def left(store: Store, jobs: list[Held]) -> list[int]:
    return [number for number, held in enumerate(jobs) if await store.state_of(held.id) is not None]


@pytest.mark.parametrize(
    ("state", "hours", "stays"),
    [
        (JobState.COMPLETED, 23.9, True),
        (JobState.COMPLETED, 24.1, False),
        (JobState.FAILED, 24.1, True),
        (JobState.FAILED, 7 * 24 + 0.1, False),
        (JobState.INTERRUPTED, 7 * 24 - 0.1, True),
        (JobState.INTERRUPTED, 7 * 24 + 0.1, False),
    ],
)
async def test_finished_job_is_kept_for_the_configured_time(
    store: Store, state: JobState, hours: float, stays: bool
) -> None:
    held = await store.finished(state, kept=5)
    await let_pass(store, held.id, hours)

    removed = await prune(store)

    assert removed == (0 if stays else 1)
    assert (await store.state_of(held.id) is not None) == stays
    assert await kept_bytes(store) == (5 if stays else 0)


async def test_jobs_beyond_the_number_limit_are_removed_oldest_first(store: Store) -> None:
    jobs = [await store.finished(state) for state in (*FINAL, *FINAL)]
    for hours, held in enumerate(reversed(jobs)):
        await let_pass(store, held.id, hours)

    removed = await prune(store, max_finished_jobs=2)

    assert removed == 4
    assert await left(store, jobs) == [4, 5]


async def test_jobs_beyond_the_size_limit_are_removed_oldest_first(store: Store) -> None:
    jobs = [await store.finished(kept=100) for _ in range(5)]
    for hours, held in enumerate(reversed(jobs)):
        await let_pass(store, held.id, hours)

    removed = await prune(store, max_finished_output_bytes=250)

    assert removed == 3
    assert await left(store, jobs) == [3, 4]
    assert await kept_bytes(store) == 200


async def test_job_that_has_just_ended_is_kept_even_if_it_alone_is_too_large(store: Store) -> None:
    tiny = replace(store.settings, max_finished_jobs=1, max_finished_output_bytes=10)
    older, newer = await store.running(), await store.running()

    for held in (older, newer):
        await store.finish(held, kept=100, settings=tiny)
        assert (await store.record_of(held.id)).state is JobState.COMPLETED
        if held is older:
            await let_pass(store, older.id, 1)

    assert await left(store, [older, newer]) == [1]


async def test_waiting_and_running_jobs_are_never_removed(store: Store) -> None:
    jobs = [await store.in_state(state) for state in (JobState.CREATED, JobState.RUNNING, JobState.IDLE)]
    for held in jobs:
        state = JobState(await store.state_of(held.id) or "")
        await store.redis.zadd(store.keys.state(state), {held.id: 0})

    assert await prune(store, max_finished_jobs=1, max_finished_output_bytes=1, keep_completed_s=1) == 0

    assert await left(store, jobs) == [0, 1, 2]


async def many_interrupted(store: Store, count: int) -> list[str]:
    ids = await store.enqueue_many(count)
    calls = [
        steering.interrupt(store.keys, each, grace=None, by="me", reason=None, settings=store.settings) for each in ids
    ]
    await store.connection.run_many(calls)
    return ids


async def test_one_prune_removes_at_most_100_jobs(store: Store) -> None:
    ids = await many_interrupted(store, 140)
    async with store.redis.pipeline(transaction=False) as pipeline:
        for job_id in ids[:60]:
            pipeline.zadd(store.keys.state(JobState.INTERRUPTED), {job_id: 1})
        await pipeline.execute()

    counts = [await prune(store, max_finished_jobs=10) for _ in range(3)]

    assert counts == [100, 30, 0]


async def test_one_finish_removes_at_most_100_jobs(store: Store) -> None:
    await many_interrupted(store, 130)
    few = Settings(namespace=store.keys.namespace, max_finished_jobs=1)

    await store.finished(settings=few)

    assert await store.redis.zcard(store.keys.state(JobState.INTERRUPTED)) == 30
    assert await store.redis.zcard(store.keys.state(JobState.COMPLETED)) == 1


async def test_interrupt_of_a_waiting_job_removes_jobs_beyond_the_limits(store: Store) -> None:
    few = Settings(namespace=store.keys.namespace, max_finished_jobs=1)
    first, second = await store.enqueue(), await store.enqueue()

    for job_id in (first, second):
        await let_pass(store, first, 1)
        await store.run(steering.interrupt(store.keys, job_id, grace=None, by="me", reason=None, settings=few))

    assert (await store.state_of(first), await store.state_of(second)) == (None, "INTERRUPTED")


async def test_job_that_expired_before_it_was_pruned_leaves_no_trace(store: Store) -> None:
    held = await store.finished(kept=5)
    await store.redis.delete(store.keys.job(held.id), store.keys.spec(held.id), store.keys.text(held.id))
    await let_pass(store, held.id, 25)

    assert await prune(store) == 1

    assert await kept_bytes(store) == 0
    assert not [name for name in await store.key_names() if name.startswith(("state:COMPLETED", "kept"))]


@pytest.mark.parametrize("now_in", list(JobState))
async def test_pruning_an_old_job_keeps_a_new_one_with_the_same_id(store: Store, now_in: JobState) -> None:
    """The old job's keys expired while no worker was running to prune it, and its id was used again."""
    job_id = a_job_id()
    old = await store.running(job_id=job_id)
    await store.finish(old, an_outcome(JobState.COMPLETED), kept=5)
    await let_pass(store, job_id, 25)
    await store.redis.delete(store.keys.job(job_id), store.keys.spec(job_id), store.keys.text(job_id))
    if now_in is JobState.CREATED:
        await store.enqueue(job_id=job_id)
    else:
        new = await store.running(job_id=job_id)
        if now_in is JobState.IDLE:
            await store.record(new, "detect_silence")
        elif now_in.is_final:
            await store.finish(new, an_outcome(now_in), kept=7)

    await prune(store)

    assert await store.state_of(job_id) == now_in
    assert (await store.record_of(job_id)).spec == a_spec()
    members = {state: await store.redis.zrange(store.keys.state(state), 0, -1) for state in JobState}
    assert {state for state, ids in members.items() if ids} == {now_in}
    assert await kept_bytes(store) == (7 if now_in.is_final else 0)


async def test_after_all_jobs_are_removed_only_the_queues_own_keys_are_left(store: Store) -> None:
    await store.run(queues.add_queue(store.keys.namespace, store.keys.queue))
    lease = await store.lease()
    for state in FINAL:
        held = await store.running(a_spec(stdin=b"in", priority=Priority.HIGH), lease=lease)
        await store.append(held, a_chunk(1, b"head"))
        await store.append(held, a_chunk(2, b"tail", offset=4), in_head=False)
        await store.interrupt(held.id)
        await store.finish(held, an_outcome(state), kept=8)
        inline = await store.running(lease=lease)
        await store.finish(inline, an_outcome(state), inline_output=pack_chunks([a_chunk(1, b"x" * 64)]), kept=1)
        await store.interrupt(await store.enqueue())
    await store.redis.xadd(store.keys.ready(Priority.LOW), {"foreign": "entry"})
    await store.claim(lease, free=5)
    assert await kept_bytes(store) == 27

    assert await prune(store, keep_completed_s=0.001, keep_failed_s=0.001, max_finished_jobs=1) in (8, 9)
    for state in FINAL:
        for job_id in await store.redis.zrange(store.keys.state(state), 0, -1):
            await let_pass(store, job_id, 1)
    await prune(store, keep_completed_s=1, keep_failed_s=1)
    await store.run(leases.unregister(store.keys, lease))

    # Streams are kept for their groups, counters and quarantine for operators, rings for the next worker.
    assert await store.key_names() == {"ready:high", "ready:normal", "ready:low", "counters", "quarantine", "bell"}
    assert [await store.length(priority) for priority in Priority] == [0, 0, 0]
    assert await store.redis.hgetall(store.keys.counters) == {b"kept": b"0", b"malformed": b"1"}
    everything = [name async for name in store.redis.scan_iter(match=f"{{{store.keys.namespace}*", count=1000)]
    assert len(everything) == 7
    assert queues_key(store.keys.namespace).encode() in everything


async def a_job_of_many_attempts(store: Store) -> Held:
    held = await store.running()
    await store.redis.hset(store.keys.job(held.id), "attempt", 1_000)
    for attempt in (1, 999):
        await store.redis.set(store.keys.output_head(held.id, attempt), "x")
    await store.finish(Held(held.id, held.holder, attempt=1_000), inline_output=b"x", kept=1)
    return held


async def test_jobs_with_very_many_attempts_are_removed_a_few_at_a_time(store: Store) -> None:
    jobs = [await a_job_of_many_attempts(store) for _ in range(5)]
    for held in jobs:
        await let_pass(store, held.id, 25)

    assert [await prune(store) for _ in range(4)] == [2, 2, 1, 0]

    assert not [name for name in await store.key_names() if name.startswith(("job:", "output:"))]
    assert await kept_bytes(store) == 0


async def test_jobs_with_very_many_attempts_beyond_the_limits_are_removed_a_few_at_a_time(store: Store) -> None:
    jobs = [await a_job_of_many_attempts(store) for _ in range(5)]

    assert [await prune(store, max_finished_jobs=1) for _ in range(3)] == [2, 2, 0]

    assert await left(store, jobs) == [4]


@pytest.mark.parametrize("jobs", [0, 1, 1_200])
async def test_erasing_a_queue_removes_all_its_keys_and_no_others(store: Store, jobs: int) -> None:
    await store.enqueue_many(jobs)
    others = [f"{store.keys.prefix}x:bell", f"{{{store.keys.namespace}:another}}:bell", store.keys.prefix]
    for other in others:
        await store.redis.set(other, "kept")

    cursor, calls = "", 0
    while cursor != "0":
        cursor = await store.connection.run(erase_queue(store.keys, cursor or "0"))
        calls += 1

    assert [key async for key in store.redis.scan_iter(match=f"{store.keys.prefix}:*", count=1_000)] == []
    assert await store.redis.exists(*others) == len(others)
    assert calls > 1 or jobs < 500


async def test_erasing_a_namespace_removes_the_keys_that_belong_to_no_queue(store: Store) -> None:
    namespace = store.keys.namespace
    await store.redis.sadd(queues_key(namespace), "some")
    await store.redis.set(presence_key(namespace, "w"), b"-")

    cursor = ""
    while cursor != "0":
        cursor = await store.connection.run(erase_common(namespace, cursor or "0"))

    assert await store.redis.exists(queues_key(namespace), presence_key(namespace, "w")) == 0
