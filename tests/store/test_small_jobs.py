"""A job with a short command, history and output is one small key; longer ones move to keys of their own unchanged."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from oneshot_queue.jobs import HistoryRow
from oneshot_queue.states import STATES_BY_LETTER, JobState
from oneshot_queue.store.scripts import script
from oneshot_queue.wire.chunks import pack_chunks
from tests.support.builders import LONG_NAME, Held, Store, a_chunk, a_long_spec, a_spec, an_outcome


async def end(store: Store, held: Held) -> None:
    await store.finish(held, an_outcome(), inline_output=pack_chunks([a_chunk(1, b"x" * 40)]), kept=40, bytes=40)


async def test_simple_job_is_one_small_key_from_enqueue_to_finish(real_store: Store) -> None:
    held = await real_store.running(a_spec(["/bin/echo", "x" * 39]))
    await end(real_store, held)

    assert [name for name in await real_store.key_names() if held.id in name] == [f"job:{held.id}"]
    encoding = await real_store.redis.object("encoding", real_store.keys.job(held.id))
    assert encoding in (b"listpack", b"ziplist")
    sizes = [len(value) for value in (await real_store.redis.hgetall(real_store.keys.job(held.id))).values()]
    assert max(sizes) <= 64


async def test_no_field_exceeds_the_limit_of_the_compact_encoding(real_store: Store) -> None:
    held = await real_store.running(a_long_spec(), by=LONG_NAME)
    for _ in range(3):
        await real_store.record(held, "detect_silence")
        await real_store.record(held, "detect_activity")
    await real_store.finish(held, an_outcome(), inline_output=pack_chunks([a_chunk(1, b"x" * 64)]), kept=64, bytes=64)

    sizes = [len(value) for value in (await real_store.redis.hgetall(real_store.keys.job(held.id))).values()]
    assert max(sizes) <= 64
    assert len((await real_store.record_of(held.id)).history) == 9


async def lives(store: Store, by: str, silences: int) -> list[tuple[JobState, int, str | None, str | None]]:
    """The history of a job that fell silent this often, and the facts that all such jobs share."""
    held = await store.running(by=by)
    for _ in range(silences):
        await store.record(held, "detect_silence")
        await store.record(held, "detect_activity")
    await end(store, held)
    return [_facts(row) for row in (await store.record_of(held.id)).history]


def _facts(row: HistoryRow) -> tuple[JobState, int, str | None, str | None]:
    return row.state, row.attempt, row.cause, row.by


@pytest.mark.parametrize("silences", range(6))
async def test_history_is_the_same_in_the_hash_and_in_its_own_key(store: Store, silences: int) -> None:
    short, long = await lives(store, "app", silences), await lives(store, LONG_NAME, silences)

    assert short[0] == (JobState.CREATED, 1, None, "app")
    assert short[1:] == long[1:]
    assert short[1][3] == short[-1][3] == "worker"
    assert [state for state, *_ in short] == [
        *("CREATED", "RUNNING"),
        *("IDLE", "RUNNING") * silences,
        "COMPLETED",
    ]


async def test_history_grows_by_one_row_at_a_time_while_it_moves_to_its_own_key(store: Store) -> None:
    held = await store.running()
    seen = [(await store.record_of(held.id)).history]
    for event in ("detect_silence", "detect_activity") * 5:
        await store.record(held, event)
        seen.append((await store.record_of(held.id)).history)

    for before, after in pairwise(seen):
        assert after[:-1] == before
    assert await store.redis.exists(store.keys.text(held.id)), "it moved"
    assert not await store.redis.hexists(store.keys.job(held.id), "log")


async def test_worker_of_the_first_attempt_keeps_its_name_in_the_history_of_the_second(store: Store) -> None:
    lease = await store.lease()
    held = await store.running(a_spec(retries=1, retry_on=["exit"]), lease=lease)
    await store.finish(held, an_outcome(JobState.FAILED, exit_code=1), retry_after_s=0.0)
    await store.redis.hset(store.keys.job(held.id), "worker", "another")

    assert [row.by for row in (await store.record_of(held.id)).history] == ["app@host", "worker", "worker", "worker"]


async def test_worker_named_like_the_placeholder_keeps_its_name(store: Store) -> None:
    held = await store.running(by="*")
    await end(store, held)

    assert [row.by for row in (await store.record_of(held.id)).history] == ["*", "worker", "worker"]


def test_letters_of_the_states_are_the_same_in_lua_and_python() -> None:
    (table,) = re.findall(r"STATE_LETTERS = \{([^}]*)\}", script("finish").text)
    letters = {letter: state for state, letter in re.findall(r"(\w+) = '(\w)'", table)}

    assert letters == STATES_BY_LETTER
    assert sorted(letters.values()) == sorted(JobState)
