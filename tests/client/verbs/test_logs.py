"""Output is read and followed from the start or a cursor, without gaps or repeats; missing bytes are counted."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from oneshot_queue import InvalidSetting, JobNotFound, JobState, MalformedData, OutputStream, Unattended
from oneshot_queue.client import effects
from oneshot_queue.store.output import PAGE_CHUNKS
from oneshot_queue.wire.chunks import pack_chunks
from tests.client.verbs.test_wait import listened_to
from tests.support.builders import Held, Store, a_chunk, a_queue, opened
from tests.support.clients import KINDS, OpenQueue, by_one_client, opened_client
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually

OUT, ERR = OutputStream.STDOUT, OutputStream.STDERR


@pytest.fixture
def only_announcements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable re-reading: only an announcement can wake a reader now."""
    monkeypatch.setattr(effects, "RECHECK_S", 3_600.0)


async def collected(job: Any, **options: Any) -> list[Any]:
    return [chunk async for chunk in job.output(**options)]


async def written(store: Store, held: Held, *datas: bytes) -> None:
    """Append consecutive chunks of stdout to the head."""
    known = await store.chunks(held)
    offset = known[-1].offset + len(known[-1].data) if known else 0
    for number, data in enumerate(datas, start=len(known) + 1):
        await store.append(held, a_chunk(number, data, offset=offset))
        offset += len(data)


async def test_output_so_far_is_read_without_waiting_for_more(open_queue: OpenQueue, store: Store) -> None:
    held = await store.running()
    await store.append(held, a_chunk(1, b"out"), a_chunk(2, b"err", stream=ERR))

    async with open_queue() as queue:
        chunks = await collected(await queue.get(held.id))

    assert [(chunk.stream, chunk.data, chunk.missing) for chunk in chunks] == [(OUT, b"out", 0), (ERR, b"err", 0)]
    assert all(chunk.at_ms > 1_000_000_000_000 for chunk in chunks)


@pytest.mark.parametrize("state", list(JobState))
@by_one_client
async def test_job_without_output_yields_nothing(open_queue: OpenQueue, store: Store, state: JobState) -> None:
    held = await store.in_state(state)

    async with open_queue() as queue:
        assert await collected(await queue.get(held.id)) == []


async def test_inline_output_is_read_completely_and_from_a_cursor(open_queue: OpenQueue, store: Store) -> None:
    stored = [a_chunk(1, b"one"), a_chunk(2, b"two", offset=3)]
    held = await store.finished(inline_output=pack_chunks(stored), kept=6, output="inline")

    async with open_queue() as queue:
        job = await queue.get(held.id)
        chunks = await collected(job, follow=True)
        rest = await collected(job, after=chunks[0].cursor)

    assert [chunk.data for chunk in chunks] == [b"one", b"two"]
    assert rest == chunks[1:]


async def test_reading_from_any_cursor_returns_exactly_the_rest(open_queue: OpenQueue, store: Store) -> None:
    held, count = await store.running(), 2 * PAGE_CHUNKS + 3
    for number in range(1, count + 1):
        stream = (OUT, ERR)[number % 2]
        await store.append(held, a_chunk(number, b"x", stream=stream, offset=number // 2), in_head=number < 9)

    async with open_queue() as queue:
        job = await queue.get(held.id)
        whole = await collected(job)
        rests = [await collected(job, after=whole[index].cursor) for index in (0, 7, PAGE_CHUNKS, count - 1)]

    assert len(whole) == count
    assert rests == [whole[index + 1 :] for index in (0, 7, PAGE_CHUNKS, count - 1)]


async def test_missing_bytes_are_counted_where_they_are_missing(open_queue: OpenQueue, store: Store) -> None:
    held = await store.running()
    await store.append(held, a_chunk(1, b"head"), a_chunk(2, b"err", stream=ERR, offset=5))
    await store.append(held, a_chunk(9, b"tail", offset=1_000), in_head=False)

    async with open_queue() as queue:
        job = await queue.get(held.id)
        chunks = await collected(job)
        rests = [await collected(job, after=chunk.cursor) for chunk in chunks]

    assert [chunk.missing for chunk in chunks] == [0, 5, 996]
    assert rests == [chunks[1:], chunks[2:], []]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.1", "1.1.1", "1.-1.0.0", "1.1.0.0.0", "1.1.0.0\n", "9" * 40])
@by_one_client
async def test_invalid_cursor_is_refused(open_queue: OpenQueue, store: Store, cursor: str) -> None:
    job_id = await store.enqueue()

    async with open_queue() as queue:
        with pytest.raises(InvalidSetting, match="is not a valid cursor"):
            await collected(await queue.get(job_id), after=cursor)


async def test_follower_receives_start_output_and_end(
    open_queue: OpenQueue, store: Store, only_announcements: None
) -> None:
    seen: list[bytes] = []
    job_id, lease = await store.enqueue(), await store.lease()
    async with open_queue() as queue, anyio.create_task_group() as tasks:
        job = await queue.get(job_id)

        async def follow() -> None:
            nonlocal seen
            async for chunk in job.output(follow=True):
                seen += [chunk.data]

        tasks.start_soon(follow)
        await listened_to(store, job_id)
        held = await store.held(job_id, lease)
        for data in (b"a", b"b", b"c"):
            await written(store, held, data)
            await eventually(lambda: seen[-1:], [data].__eq__, what="the chunk")
        await store.record(held, "detect_silence")
        await store.finish(held)

    assert seen == [b"a", b"b", b"c"]


async def test_follower_receives_output_stored_with_the_result(
    open_queue: OpenQueue, store: Store, only_announcements: None
) -> None:
    held, seen = await store.running(), []
    async with open_queue() as queue, anyio.create_task_group() as tasks:
        job = await queue.get(held.id)

        async def follow() -> None:
            seen.extend(await collected(job, follow=True))

        tasks.start_soon(follow)
        await listened_to(store, held.id)
        await store.finish(held, inline_output=pack_chunks([a_chunk(1, b"short")]), kept=5, output="inline")

    assert [chunk.data for chunk in seen] == [b"short"]


async def test_follower_of_a_waiting_job_ends_when_it_is_interrupted(
    open_queue: OpenQueue, store: Store, only_announcements: None
) -> None:
    job_id, seen = await store.enqueue(), []
    async with open_queue() as queue, anyio.create_task_group() as tasks:
        job = await queue.get(job_id)

        async def follow() -> None:
            seen.append(await collected(job, follow=True))

        tasks.start_soon(follow)
        await listened_to(store, job_id)
        await store.interrupt(job_id)

    assert seen == [[]]


async def test_follower_of_an_unattended_job_is_notified(open_queue: OpenQueue, store: Store) -> None:
    notices: list[Unattended] = []
    job_id = await store.enqueue()
    async with open_queue() as queue, anyio.create_task_group() as tasks:
        job = await queue.get(job_id)

        async def follow() -> None:
            await collected(job, follow=True, on_unattended=notices.append)

        tasks.start_soon(follow)
        await eventually(lambda: notices, what="the notice")
        await store.interrupt(job_id)

    assert notices == [Unattended(job_id, store.keys.queue, None)]


async def test_foreign_entry_in_the_output_is_malformed(open_queue: OpenQueue, store: Store) -> None:
    held = await store.running()
    await written(store, held, b"x")
    await store.redis.xadd(store.keys.output_head(held.id, 1), {"foreign": "entry"}, id="2-0")

    async with open_queue() as queue:
        job = await queue.get(held.id)
        with pytest.raises(MalformedData, match="not a valid chunk"):
            await collected(job)


async def test_output_of_an_expired_job_is_not_found(open_queue: OpenQueue, store: Store) -> None:
    held = await store.running()
    async with open_queue() as queue:
        job = await queue.get(held.id)
        await store.redis.delete(store.keys.job(held.id))

        with pytest.raises(JobNotFound):
            await collected(job, follow=True)


async def test_cancelled_reader_unsubscribes(store: Store, only_announcements: None) -> None:
    held = await store.running()
    await written(store, held, b"x")
    async with a_queue(store.connection.url, store.keys) as queue:
        job = await queue.get(held.id)
        async with anyio.create_task_group() as tasks:

            async def follow() -> None:
                await collected(job, follow=True)

            tasks.start_soon(follow)
            await listened_to(store, held.id)
            tasks.cancel_scope.cancel()

        await eventually(
            lambda: store.redis.pubsub_numsub(store.keys.events(held.id)), lambda rows: rows[0][1] == 0, what="silence"
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_follower_survives_a_server_restart_without_gaps_or_repeats(
    real_server: ServerProcess, real_store: Store, kind: str, end: str
) -> None:
    seen: list[bytes] = []
    await real_store.redis.config_set("appendfsync", "always")
    held = await real_store.running()
    async with opened_client(kind, real_server.url, real_store.keys) as queue, anyio.create_task_group() as tasks:
        job = await queue.get(held.id)

        async def follow() -> None:
            nonlocal seen
            async for chunk in job.output(follow=True):
                seen += [chunk.data]

        tasks.start_soon(follow)
        await listened_to(real_store, held.id)
        await written(real_store, held, b"a", b"b")
        await eventually(lambda: len(seen), lambda length: length == 2, what="the output before")
        # Not in another thread: the server is set up to die with the thread that started it.
        getattr(real_server, end)()
        real_server.start()
        async with opened(real_server.url, real_store.keys) as again:
            await written(again, held, b"c", b"d")
            await eventually(lambda: len(seen), lambda length: length == 4, what="the output after")
            await again.finish(held)

    assert seen == [b"a", b"b", b"c", b"d"]
