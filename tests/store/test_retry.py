"""The script that records a failed attempt also schedules the next one, if the job has retries left."""

from __future__ import annotations

from typing import Any

import pytest

from oneshot_queue import Queue
from oneshot_queue.errors import InvalidSetting
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.store import retention
from oneshot_queue.store.attempts import Fenced, Recorded
from oneshot_queue.store.steering import Ended
from oneshot_queue.wire.chunks import pack_chunks
from tests.store.recovery import FAILED, a_retried_spec, intents, members_of, names_of, rows
from tests.support.builders import Held, Store, a_chunk, a_spec, an_outcome
from tests.support.servers import Server


async def next_attempt(store: Store, held: Held, *, delay_s: float = 0.0, **options: Any) -> None:
    assert await store.finish(held, FAILED, retry_after_s=delay_s, **options) == Recorded(JobState.CREATED)


async def test_next_attempt_starts_without_facts_of_the_last(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await store.record(held, "detect_silence", pid=17)
    await store.append(held, a_chunk(1, b"out"))

    await next_attempt(store, held, kept=3)

    known = await store.record_of(held.id)
    assert (known.state, known.attempt, known.cause, known.error) == (JobState.CREATED, 2, None, None)
    assert (known.worker, known.host, known.pid, known.started_ms) == (None, None, None, None)
    assert (known.exit_code, known.output.bytes, known.last_output_ms, known.ended_ms) == (None, 0, None, None)
    assert await members_of(store, "state:CREATED") == [held.id]
    assert await members_of(store, "state:IDLE") == []
    assert (await store.length(), await store.pending()) == (1, [])


async def test_history_shows_how_each_attempt_ended(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await next_attempt(store, held)
    again = await store.held(held.id, held.holder.lease)
    await store.finish(again, Outcome(JobState.FAILED, Cause.SIGNAL, signal=9), retry_after_s=0.0)
    last = await store.held(held.id, held.holder.lease)

    await store.finish(last)

    history = (await store.record_of(held.id)).history
    assert [(row.attempt, row.state, row.cause, row.detail) for row in history] == [
        (1, "CREATED", None, None),
        (1, "RUNNING", None, None),
        (1, "FAILED", "exit", "exit 3"),
        (2, "CREATED", "retry", None),
        (2, "RUNNING", None, None),
        (2, "FAILED", "signal", "signal 9"),
        (3, "CREATED", "retry", None),
        (3, "RUNNING", None, None),
        (3, "COMPLETED", "exit", None),
    ]
    assert [row.at_ms for row in history] == sorted(row.at_ms for row in history)


async def test_later_attempt_has_a_later_token_and_the_old_one_is_fenced(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await next_attempt(store, held)

    again = await store.held(held.id, await store.lease())

    assert int(again.holder.token.partition("-")[0]) > int(held.holder.token.partition("-")[0])
    before = await store.dump()
    assert await store.record(held, "detect_silence") == Fenced()
    assert await store.append(held, a_chunk(1)) == Fenced()
    assert await store.finish(held, FAILED, retry_after_s=0.0) == Fenced()
    assert await store.dump() == before


async def test_repeated_finish_of_a_retried_attempt_is_acknowledged_and_changes_nothing(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await next_attempt(store, held, inline_output=b"x", kept=1)
    before = await store.dump()

    assert await store.finish(held, FAILED, retry_after_s=0.0, inline_output=b"x", kept=1) == Recorded()
    assert await store.finish(held, an_outcome()) == Recorded()

    assert await store.dump() == before


async def test_each_attempt_has_its_own_output_and_all_of_it_counts_and_expires_at_the_end(store: Store) -> None:
    lease = await store.lease()
    inline = pack_chunks([a_chunk(1, b"first")])
    held = await store.running(a_retried_spec(), lease=lease)
    await next_attempt(store, held, inline_output=inline, kept=5, output="inline")
    again = await store.held(held.id, lease)
    await store.append(again, a_chunk(1, b"second"))
    await store.append(again, a_chunk(2, b"tail", offset=6), in_head=False)
    await next_attempt(store, again, kept=10)
    assert await store.redis.ttl(store.keys.output_head(held.id, 1)) == -1
    last = await store.held(held.id, lease)

    await store.finish(last, inline_output=pack_chunks([a_chunk(1, b"x" * 64)]), kept=64)

    assert await names_of(store, "output") == {
        f"output:{held.id}:1",
        f"output:{held.id}:2",
        f"output:{held.id}:2:stdout",
        f"output:{held.id}:3",
    }
    assert await store.redis.get(store.keys.output_head(held.id, 1)) == inline
    assert [chunk.data for chunk in await store.chunks(again)] == [b"second", b"tail"]
    for name in await names_of(store, held.id):
        assert await store.redis.ttl(f"{store.keys.prefix}:{name}") > 0
    assert await store.redis.hget(store.keys.counters, "kept") == b"79"


async def test_output_of_earlier_attempts_is_bounded_and_reading_removed_output_says_so(
    store: Store, server: Server
) -> None:
    lease = await store.lease()
    inline = pack_chunks([a_chunk(1, b"kept")])
    held = await store.running(a_retried_spec(retries=6), lease=lease)
    for _ in range(5):
        await next_attempt(store, held, inline_output=inline, kept=10_000_000, output="inline")
        held = await store.held(held.id, lease)

    # Three of these fit and a fourth does not: then only the fourth stays, and the fifth with it.
    assert await names_of(store, "output") == {f"output:{held.id}:4", f"output:{held.id}:5"}
    assert (await store.record_of(held.id)).outputs_dropped == 3
    await store.finish(held, inline_output=inline, kept=5)
    # Output in the job's own hash is bounded by the number of jobs.
    assert await store.redis.hget(store.keys.counters, "kept") == b"20000000"
    assert (await store.record_of(held.id)).outputs_dropped == 3
    async with Queue(server.url, queue=store.keys.queue, settings=store.settings) as queue:
        job = await queue.get(held.id)
        assert b"".join([chunk.data async for chunk in job.output(attempt=4)]) == b"kept"
        with pytest.raises(InvalidSetting, match=r"attempt 3 of .* was dropped; it is kept from attempt 4 on"):
            await anext(job.output(attempt=3))


async def test_removed_job_loses_the_output_of_all_attempts(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await next_attempt(store, held, inline_output=b"x", kept=1)
    await store.finish(await store.held(held.id, held.holder.lease), inline_output=b"x", kept=1)
    await store.redis.zadd(store.keys.state(JobState.COMPLETED), {held.id: 1})

    assert await store.run(retention.prune(store.keys, store.settings)) == 1

    assert await names_of(store, held.id) == set()
    assert await store.redis.hget(store.keys.counters, "kept") == b"0"


async def test_recorded_interrupt_prevents_the_next_attempt(store: Store) -> None:
    held = await store.running(a_retried_spec())
    await store.interrupt(held.id, by="ops@host", reason="enough")

    assert await store.finish(held, FAILED, retry_after_s=0.0) == Recorded(JobState.INTERRUPTED)

    known = await store.record_of(held.id)
    assert (known.state, known.cause, known.attempt) == (JobState.INTERRUPTED, Cause.INTERRUPTED, 1)
    assert (known.history[-1].by, known.reason, known.exit_code) == ("ops@host", "enough", 3)
    assert await store.length() == 0
    assert not await names_of(store, "intents")


async def test_interrupt_between_two_attempts_ends_the_job_at_once(store: Store) -> None:
    for delay_s in (0.0, 60.0):
        held = await store.running(a_retried_spec())
        await next_attempt(store, held, delay_s=delay_s)

        assert isinstance(await store.interrupt(held.id), Ended)

        assert await rows(store, held.id) == [
            (1, "CREATED", None),
            (1, "RUNNING", None),
            (1, "FAILED", "exit"),
            (2, "CREATED", "retry"),
            (2, "INTERRUPTED", "interrupted"),
        ]
        assert (await store.length(), await members_of(store, "delayed")) == (0, [])
        assert await store.finish(held, FAILED, retry_after_s=0.0) in (Fenced(), Recorded())


async def test_interrupt_of_an_old_attempt_does_not_reach_the_next(store: Store) -> None:
    lease = await store.lease()
    held = await store.running(a_retried_spec(), lease=lease)
    await store.redis.hset(store.keys.intents(lease), held.id, "1 -")

    await next_attempt(store, held)
    await store.held(held.id, lease)

    assert await intents(store, lease) == ()


async def test_retry_delay_counts_from_the_end_of_the_attempt(store: Store) -> None:
    held = await store.running(a_retried_spec())

    await next_attempt(store, held, delay_s=7.0)

    known = await store.record_of(held.id)
    assert (known.due_ms or 0) - known.changed_ms == 7_000
    assert await store.redis.zscore(f"{store.keys.prefix}:delayed", held.id) == known.due_ms
    assert await store.claim(held.holder.lease, free=5) == []


async def test_retry_delay_that_has_passed_before_the_result_is_recorded_is_not_repeated(store: Store) -> None:
    held = await store.running(a_retried_spec())
    for field in ("changed", "started"):
        await store.redis.hincrby(store.keys.job(held.id), field, -60_000)

    await next_attempt(store, held, delay_s=7.0, ago_ms=30_000)

    (claim,) = await store.claim(held.holder.lease)
    assert (claim.job_id, claim.attempt) == (held.id, 2)


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.IDLE])
async def test_attempt_may_end_from_both_running_states(store: Store, state: JobState) -> None:
    held = await store.in_state(state)

    await next_attempt(store, held)

    assert await members_of(store, f"state:{state}") == []


async def test_bell_rings_for_the_next_attempt(store: Store) -> None:
    held = await store.running(a_spec())
    await store.redis.delete(store.keys.bell)

    await next_attempt(store, held)

    assert await store.redis.llen(store.keys.bell) == 1
