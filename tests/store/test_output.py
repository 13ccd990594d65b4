"""A job's output is stored once and read back in order; missing bytes are counted."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneshot_queue.errors import MalformedData
from oneshot_queue.store import output
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.output import PAGE_CHUNKS
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk, pack_chunks
from tests.support.builders import Store, a_chunk

OUT, ERR = OutputStream.STDOUT, OutputStream.STDERR


async def test_every_byte_survives(store: Store) -> None:
    held, data = await store.running(), bytes(range(256)) * 16

    await store.append(held, a_chunk(1, data))

    (chunk,) = await store.chunks(held)
    assert chunk.data == data


async def test_chunks_that_are_sent_again_are_stored_once(store: Store) -> None:
    held = await store.running()
    batch = [a_chunk(1, b"a"), a_chunk(2, b"b", offset=1)]

    answers = [await store.append(held, *batch) for _ in range(3)]

    assert answers == [Recorded()] * 3
    assert [chunk.data for chunk in await store.chunks(held)] == [b"a", b"b"]


async def test_output_continues_after_its_counter_was_damaged(store: Store) -> None:
    held = await store.running()
    await store.redis.hset(store.keys.job(held.id), "ordinal", "abc")

    assert await store.append(held, a_chunk(1, b"on")) == Recorded()


async def test_overlapping_chunks_add_only_what_is_new(store: Store) -> None:
    held = await store.running()
    await store.append(held, a_chunk(1, b"a"), a_chunk(2, b"b", offset=1))

    await store.append(held, a_chunk(2, b"B", offset=1), a_chunk(3, b"c", offset=2))
    await store.append(held, a_chunk(1, b"A"))

    assert [chunk.data for chunk in await store.chunks(held)] == [b"a", b"b", b"c"]


async def test_head_and_both_tails_are_read_in_the_order_of_writing(store: Store) -> None:
    held = await store.running()
    await store.append(held, a_chunk(1, b"1", stream=OUT), a_chunk(2, b"2", stream=ERR))
    await store.append(
        held, a_chunk(3, b"3", stream=ERR), a_chunk(4, b"4", stream=OUT), a_chunk(5, b"5", stream=ERR), in_head=False
    )
    await store.append(held, a_chunk(6, b"6", stream=OUT, offset=9))

    chunks = await store.chunks(held)

    assert b"".join(chunk.data for chunk in chunks) == b"123456"
    assert [chunk.stream for chunk in chunks] == [OUT, ERR, ERR, OUT, ERR, OUT]


async def test_output_longer_than_a_page_is_read_completely(store: Store) -> None:
    held, count = await store.running(), 3 * PAGE_CHUNKS + 5
    chunks = [a_chunk(number, b"%d," % number, stream=(OUT, ERR)[number % 2]) for number in range(1, count + 1)]
    for chunk in chunks:
        # Head and tails alternate, so that no two sources' pages end at the same place.
        await store.append(held, chunk, in_head=chunk.ordinal % 3 == 0)

    found = await store.chunks(held)

    assert [(chunk.ordinal, chunk.data, chunk.stream) for chunk in found] == [
        (chunk.ordinal, chunk.data, chunk.stream) for chunk in chunks
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([0, 1, 2]), max_size=120))
def test_pages_of_three_sources_are_merged_without_gaps_or_repetitions(source_of: list[int]) -> None:
    sources: list[list[Chunk]] = [[], [], []]
    for ordinal, source in enumerate(source_of, start=1):
        sources[source].append(a_chunk(ordinal))
    read: list[int] = []

    while page := output.merged(
        [[c for c in source if c.ordinal > (read[-1] if read else 0)][:PAGE_CHUNKS] for source in sources]
    ):
        read += [chunk.ordinal for chunk in page]

    assert read == list(range(1, len(source_of) + 1))


async def test_each_tail_is_trimmed_from_its_front(store: Store) -> None:
    held = await store.running()
    await store.append(held, a_chunk(1, b"head"))
    await store.append(
        held,
        *[a_chunk(number, b"%d" % number, stream=(OUT, ERR)[number % 2]) for number in range(2, 10)],
        in_head=False,
    )

    await store.append(held, a_chunk(10, b"10"), in_head=False, dropped=3, tail_from=(6, 5))

    assert [chunk.ordinal for chunk in await store.chunks(held)] == [1, 5, 6, 7, 8, 9, 10]
    assert (await store.record_of(held.id)).output.dropped == 3


async def test_totals_and_the_time_of_the_last_output_are_recorded(store: Store) -> None:
    held = await store.running()

    await store.append(held, a_chunk(1, b"x" * 100), dropped=7)

    known = await store.record_of(held.id)
    assert (known.output.bytes, known.output.dropped) == (100, 7)
    assert known.last_output_ms is not None
    assert known.started_ms is not None
    assert known.last_output_ms >= known.started_ms


async def test_chunks_carry_their_time_by_the_servers_clock(store: Store) -> None:
    held = await store.running()
    started_ms = (await store.record_of(held.id)).started_ms or 0

    await store.append(held, a_chunk(1, at_ms=1_000), a_chunk(2, at_ms=61_000))

    first, second = [chunk.at_ms for chunk in await store.chunks(held)]
    assert second - first == 60_000
    assert second >= started_ms


async def test_inline_output_is_read_back(store: Store) -> None:
    chunks = [a_chunk(1, b"out", at_ms=5), a_chunk(2, b"err", stream=ERR, at_ms=6)]
    held = await store.finished(inline_output=pack_chunks(chunks), kept=6, bytes=6)

    assert len(pack_chunks(chunks)) <= 64
    assert await store.run(output.chunks_of_field(store.keys, held.id)) == chunks
    assert (await store.record_of(held.id)).output.bytes == 6


async def test_inline_output_too_long_for_the_hash_gets_its_own_key(store: Store) -> None:
    chunks = [a_chunk(1, b"o" * 64, at_ms=5)]
    held = await store.finished(inline_output=pack_chunks(chunks), kept=64, bytes=64)

    assert await store.run(output.chunks_of_field(store.keys, held.id)) == []
    assert await store.run(output.inline_chunks(store.keys, held.id, 1)) == chunks


async def test_job_without_output_stores_none(store: Store) -> None:
    held = await store.finished()

    assert await store.chunks(held) == []
    assert await store.run(output.inline_chunks(store.keys, held.id, 1)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"x": "y"},
        {"s": "1", "o": "0", "t": "0"},
        {"s": "3", "o": "0", "t": "0", "d": ""},
        {"s": "1", "o": "x", "t": "0", "d": ""},
    ],
    ids=["foreign", "no data", "a third stream", "no offset"],
)
async def test_invalid_entry_of_an_output_stream_is_malformed(store: Store, fields: dict[str, str]) -> None:
    held = await store.running()
    await store.redis.xadd(store.keys.output_head(held.id, 1), fields)

    answers = await store.connection.run_many(output.pages(store.keys, held.id, 1, 0))

    assert [type(answer) for answer in answers] == [MalformedData, list, list]


async def test_invalid_inline_output_is_malformed(store: Store) -> None:
    short = await store.finished(inline_output=b"\xc1garbage", kept=1)
    long = await store.finished(inline_output=b"\xc1garbage" * 64, kept=1)

    with pytest.raises(MalformedData):
        await store.run(output.chunks_of_field(store.keys, short.id))
    with pytest.raises(MalformedData):
        await store.run(output.inline_chunks(store.keys, long.id, 1))


async def test_attempts_do_not_share_their_output(store: Store) -> None:
    held = await store.running()
    await store.append(held, a_chunk(1, b"first"))
    held.attempt = 2

    assert await store.chunks(held) == []


def test_ordinals_of_a_page_increase() -> None:
    pages = [[a_chunk(3), a_chunk(5)], [a_chunk(1)], [a_chunk(2), a_chunk(4)]]

    merged = output.merged(pages)

    assert all(before.ordinal < after.ordinal for before, after in pairwise(merged))
