"""Events of a running attempt are recorded in order, once, and only by its holder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oneshot_queue.states import JobState
from oneshot_queue.store import steering
from oneshot_queue.store.attempts import Fenced, Holder, Recorded, Refused
from tests.support.builders import NOBODY, Held, Store, a_chunk, a_lease, an_outcome
from tests.support.limits import limit_s


def with_holder(held: Held, holder: Holder) -> Held:
    return replace(held, holder=holder, sequence=held.sequence)


async def test_silence_and_activity_alternate(store: Store) -> None:
    held = await store.running()

    assert await store.record(held, "detect_silence") == Recorded(JobState.IDLE)
    assert (await store.record_of(held.id)).state is JobState.IDLE
    assert await store.redis.zrange(store.keys.state(JobState.IDLE), 0, -1) == [held.id.encode()]
    assert await store.record(held, "detect_activity") == Recorded(JobState.RUNNING)

    known = await store.record_of(held.id)
    assert [row.state for row in known.history] == ["CREATED", "RUNNING", "IDLE", "RUNNING"]
    assert (known.state, known.changed_ms) == (JobState.RUNNING, known.history[-1].at_ms)
    assert "state:IDLE" not in await store.key_names()


async def test_fields_are_set_without_an_event(store: Store) -> None:
    held = await store.running()

    assert await store.record(held, pid=4711) == Recorded(JobState.RUNNING)

    known = await store.record_of(held.id)
    assert known.pid == 4711
    assert len(known.history) == 2


async def test_repeated_record_is_acknowledged_and_ignored(store: Store) -> None:
    held = await store.running()
    await store.record(held, pid=1)
    await store.record(held, "detect_silence", pid=1)
    before = await store.dump()

    for sequence in (2, 1):
        held.sequence = sequence
        assert await store.run(store.record_call(held, "detect_silence", pid=99)) == Recorded()

    assert await store.dump() == before


@pytest.mark.parametrize("event", ["detect_activity", "finish", "fail", "interrupt", "start", "nonsense"])
async def test_event_that_the_state_does_not_allow_is_refused_and_changes_nothing(store: Store, event: str) -> None:
    held = await store.running()
    before = await store.dump()

    assert await store.record(held, event, pid=99) == Refused("RUNNING")

    assert await store.dump() == before


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.IDLE, *(each for each in JobState if each.is_final)])
@pytest.mark.parametrize("wrong", ["token", "lease", "both", "nobody"])
async def test_caller_that_does_not_hold_the_job_is_fenced_and_changes_nothing(
    store: Store, state: JobState, wrong: str
) -> None:
    held = await store.in_state(state)
    token = f"1{held.holder.token}" if wrong in ("token", "both") else held.holder.token
    lease = a_lease() if wrong in ("lease", "both") else held.holder.lease
    holder = NOBODY if wrong == "nobody" else Holder(token, lease, "intruder")
    other = with_holder(held, holder)
    before = await store.dump()

    # A finished job keeps only its attempt: its last holder learns that the job has ended.
    is_over = state.is_final and wrong == "lease"
    assert await store.record(other, "detect_silence", pid=99) == (Refused(state) if is_over else Fenced())
    assert await store.append(other, a_chunk(1)) == Fenced()
    finished = await store.finish(other, an_outcome(JobState.FAILED, error="no"), inline_output=b"x", kept=1)
    assert finished == (Recorded() if is_over else Fenced())

    assert await store.dump() == before


async def test_unknown_job_is_fenced_and_leaves_no_key(store: Store) -> None:
    held = Held("nosuchjob", Holder("1", "l.1", "worker"))

    assert await store.record(held, pid=1) == Fenced()
    assert await store.append(held, a_chunk(1)) == Fenced()
    assert await store.finish(held) == Fenced()

    assert await store.key_names() == set()


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
async def test_late_record_and_late_output_of_a_finished_job_change_nothing(store: Store, state: JobState) -> None:
    held = await store.in_state(state)
    before = await store.dump()

    assert await store.record(held, "detect_silence", pid=99) == Refused(state)
    assert await store.record(held, pid=99) == Refused(state)
    assert await store.append(held, a_chunk(1)) == Fenced()

    assert await store.dump() == before


async def test_history_keeps_its_first_20_and_last_200_rows_and_counts_the_others(store: Store) -> None:
    held = await store.running()
    calls = []
    for number in range(240):
        held.sequence += 1
        calls.append(store.record_call(held, ("detect_silence", "detect_activity")[number % 2]))
    await store.connection.run_many(calls)

    await store.finish(held, an_outcome(JobState.FAILED, error="after all"))

    known = await store.record_of(held.id)
    assert (len(known.history), known.history_dropped) == (220, 243 - 220)
    assert [row.state for row in known.history[:4]] == ["CREATED", "RUNNING", "IDLE", "RUNNING"]
    # 23 rows after the 20th were dropped: an odd number, so two rows of the same state are adjacent.
    assert known.history[19].state is known.history[20].state
    assert known.history[-1].state is JobState.FAILED
    assert known.error == "after all"


async def test_history_stays_in_order_however_late_events_are_reported(store: Store) -> None:
    held = await store.running()

    await store.record(held, "detect_silence", ago_ms=0)
    await store.record(held, "detect_activity", ago_ms=3_600_000)
    await store.finish(held, ago_ms=7_200_000)

    known = await store.record_of(held.id)
    times = [row.at_ms for row in known.history]
    assert times == sorted(times)
    assert known.ended_ms == known.changed_ms == times[-1]


async def test_time_of_a_change_is_when_it_happened_not_when_it_was_reported(store: Store) -> None:
    held = await store.running()
    long_ago = await seed_past(store, held, hours=10)

    await store.record(held, "detect_silence", ago_ms=3_600_000)

    silent_ms = (await store.record_of(held.id)).changed_ms
    assert silent_ms - long_ago == pytest.approx(9 * 3_600_000, abs=20_000)


async def seed_past(store: Store, held: Held, hours: int) -> int:
    """Move a job's latest change into the past."""
    past = (await store.record_of(held.id)).changed_ms - hours * 3_600_000
    await store.redis.hset(store.keys.job(held.id), "changed", past)
    return past


async def test_history_stays_in_order_when_the_servers_clock_went_back(store: Store) -> None:
    waiting, lease = await store.enqueue(), await store.lease()
    interrupted = await store.enqueue()
    ahead = 4_102_444_800_000  # 2100-01-01
    for job_id in (waiting, interrupted):
        await store.redis.hset(store.keys.job(job_id), "changed", ahead)

    held = await store.held(waiting, lease)
    await store.finish(held)
    await store.interrupt(interrupted)

    for job_id in (waiting, interrupted):
        known = await store.record_of(job_id)
        assert [row.at_ms for row in known.history[1:]] == [ahead] * (len(known.history) - 1)
        assert known.ended_ms == ahead


async def test_record_is_announced_to_waiting_clients(store: Store) -> None:
    held = await store.running()
    async with store.redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(store.keys.events(held.id))
        await subscription.get_message(timeout=limit_s(5))

        await store.record(held, "detect_silence")
        await store.append(held, a_chunk(1))
        await store.finish(held)

        received = [await subscription.get_message(timeout=limit_s(5)) for _ in range(3)]
    assert [message and message["data"] for message in received] == [b"IDLE", b"output", b"COMPLETED"]


async def test_call_for_a_job_key_of_another_type_is_reported_and_changes_nothing(store: Store) -> None:
    held = await store.running()
    await store.redis.delete(store.keys.job(held.id))
    await store.redis.set(store.keys.job(held.id), "precious")
    before = await store.dump()

    answers = await store.connection.run_many(
        [
            store.record_call(held, "detect_silence"),
            store.finish_call(held),
            steering.interrupt(store.keys, held.id, grace=None, by="me", reason=None, settings=store.settings),
        ]
    )

    assert ["WRONGTYPE" in str(answer) for answer in answers] == [True] * 3
    assert await store.dump() == before
