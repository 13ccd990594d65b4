"""A job's result is recorded once and kept; its entry is removed, and its keys expire."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneshot_queue.errors import BrokerError
from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store import records
from oneshot_queue.store.attempts import Recorded, Refused
from oneshot_queue.store.fields import one_line
from oneshot_queue.store.steering import AlreadyFinal, IntentRecorded
from oneshot_queue.wire.chunks import pack_chunks
from tests.support.builders import LONG_NAME, NOBODY, Held, Store, a_chunk, a_long_spec, an_outcome

FINAL = [state for state in JobState if state.is_final]

OUTCOMES = [
    Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=0, usage=Usage(1.5, 0.25, 4096)),
    Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=3),
    Outcome(JobState.FAILED, Cause.EXIT, exit_code=255),
    Outcome(JobState.FAILED, Cause.SIGNAL, signal=11),
    Outcome(JobState.FAILED, Cause.TIME_LIMIT, signal=9),
    Outcome(JobState.FAILED, Cause.IDLE_TIMEOUT, signal=15),
    Outcome(JobState.FAILED, Cause.SPAWN_ERROR, error="host: /no/such: not found"),
    Outcome(JobState.INTERRUPTED, Cause.INTERRUPTED, signal=15),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: f"{outcome.state}-{outcome.cause}")
async def test_outcome_is_read_back_as_it_was_recorded(store: Store, outcome: Outcome) -> None:
    held = await store.running()

    assert await store.finish(held, outcome, pid=17) == Recorded(outcome.state)

    known = await store.record_of(held.id)
    assert known.outcome() == outcome
    assert (known.state, known.pid) == (outcome.state, 17)
    assert (known.history[-1].state, known.history[-1].cause) == (outcome.state, outcome.cause)
    assert (known.usage is None) == (outcome.cause is Cause.SPAWN_ERROR)


async def test_survivors_are_counted(store: Store) -> None:
    held = await store.running()

    await store.finish(held, an_outcome(JobState.INTERRUPTED, survivors=(7, 8)))

    assert (await store.record_of(held.id)).survivors == 2


@pytest.mark.parametrize("damaged", ["ready:normal", "text", "state:COMPLETED", "counters"])
async def test_result_is_recorded_completely_once_a_damaged_key_is_repaired(store: Store, damaged: str) -> None:
    held = await store.running(by=LONG_NAME)
    key = f"{store.keys.prefix}:{damaged}" + (f":{held.id}" if damaged == "text" else "")
    there = await store.redis.exists(key)
    if there:
        await store.redis.rename(key, f"{key}-saved")
    await store.redis.rpush(key, "oops")
    end = {"inline_output": pack_chunks([a_chunk(1, b"all of it")]), "kept": 9, "output": "inline", "bytes": 9}

    with pytest.raises(BrokerError):
        await store.finish(held, an_outcome(), **end)
    await store.redis.delete(key)
    if there:
        await store.redis.rename(f"{key}-saved", key)
    assert isinstance(await store.finish(held, an_outcome(), **end), Recorded)

    known = await store.record_of(held.id)
    assert (known.state, known.outcome(), known.output.bytes) == (JobState.COMPLETED, an_outcome(), 9)


@pytest.mark.parametrize("state", FINAL)
@pytest.mark.parametrize("again", FINAL)
async def test_repeated_finish_is_acknowledged_and_changes_nothing(
    store: Store, state: JobState, again: JobState
) -> None:
    held = await store.in_state(state)
    before = await store.dump()

    answer = await store.finish(held, an_outcome(again, error="another"), inline_output=b"x", kept=5, pid=99)

    assert answer == Recorded()
    assert await store.dump() == before


async def test_finish_removes_the_entry_and_the_intent(store: Store) -> None:
    held, other = await store.running(), await store.running()
    await store.interrupt(held.id)

    await store.finish(held)

    assert await store.length() == 1
    assert await store.pending() == [(other.id, other.holder.lease)]
    assert not await store.redis.exists(store.keys.intents(held.holder.lease))


@pytest.mark.parametrize("state", FINAL)
async def test_all_keys_of_a_finished_job_expire(store: Store, state: JobState) -> None:
    held = await store.running(a_long_spec(stdin=b"in"), by=LONG_NAME)
    await store.append(held, a_chunk(1, b"head"))
    await store.append(held, a_chunk(2, b"tail", offset=4), in_head=False)

    await store.finish(held, an_outcome(state))

    own = {name: content for name, content in (await store.dump()).items() if held.id in name}
    assert sorted(name.partition(":")[0] for name in own) == ["job", "output", "output", "spec", "stdin", "text"]
    assert all(expires for _, expires, *_ in own.values())
    ttl_s = await store.redis.ttl(store.keys.job(held.id))
    assert ttl_s / 3600 == pytest.approx(25 if state is JobState.COMPLETED else 7 * 24 + 1, abs=0.1)


async def test_inline_output_expires_too(store: Store) -> None:
    held = await store.finished(inline_output=pack_chunks([a_chunk(1, b"x" * 64)]), kept=64)

    assert await store.redis.ttl(store.keys.output_head(held.id, 1)) > 0


async def test_interrupted_result_names_the_user_who_interrupted(store: Store) -> None:
    held = await store.running()
    await store.interrupt(held.id, by="ops@host", reason="enough")

    await store.finish(held, an_outcome(JobState.INTERRUPTED))

    known = await store.record_of(held.id)
    assert (known.history[-1].by, known.reason, known.interrupting) == ("ops@host", "enough", False)


async def test_result_that_came_before_the_interrupt_wins(store: Store) -> None:
    held = await store.running()
    assert isinstance(await store.interrupt(held.id), IntentRecorded)

    assert await store.finish(held, an_outcome(JobState.COMPLETED)) == Recorded(JobState.COMPLETED)

    assert isinstance(await store.interrupt(held.id), AlreadyFinal)
    assert (await store.record_of(held.id)).history[-1].by == "worker"


async def test_waiting_job_can_fail_but_not_complete(store: Store) -> None:
    held = Held(await store.enqueue(), NOBODY)

    assert await store.finish(held, an_outcome(JobState.COMPLETED)) == Refused("CREATED")
    assert await store.finish(held, Outcome(JobState.FAILED, Cause.REJECTED, error="no")) == Recorded(JobState.FAILED)

    assert (await store.length(), await store.pending() if await store.length() else []) == (0, [])


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines",
        "a\ttab",
        "back\\slash \\n \\t",
        "cr\r\nlf",
        "日本語 🎉 \u2028\u0085",
        "!dropped\t7\n!reason\tx",
        "\0",
    ],
)
async def test_error_and_reason_are_read_back_unchanged(store: Store, text: str) -> None:
    held = await store.running()
    await store.interrupt(held.id, reason=text)

    await store.finish(held, an_outcome(JobState.FAILED, error=text))

    known = await store.record_of(held.id)
    assert (known.error, known.reason, known.history_dropped, len(known.history)) == (text, text, 0, 3)


async def test_long_error_is_cut_and_marked(store: Store) -> None:
    held = await store.running()

    await store.finish(held, an_outcome(JobState.FAILED, error="x" * 100_000))

    assert (await store.record_of(held.id)).error == "x" * 1_999 + "…"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=2_000))
def test_any_text_survives_being_stored_on_one_line(text: str) -> None:
    line = f"!error\t{one_line(text)}\n".encode("utf-8", "replace")

    _, texts = records._text_lines(line)

    assert line.count(b"\n") == 1
    assert texts["error"] == text.encode("utf-8", "replace").decode()


async def test_finish_removes_the_oldest_jobs_beyond_the_limit(store: Store) -> None:
    first, second = await store.finished(), await store.finished()
    await store.redis.zadd(store.keys.state(JobState.COMPLETED), {first.id: 1})
    few = Settings(namespace=store.keys.namespace, max_finished_jobs=2)

    third = await store.finished(settings=few)

    assert [await store.state_of(held.id) for held in (first, second, third)] == [None, "COMPLETED", "COMPLETED"]
