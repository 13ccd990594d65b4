"""A job is enqueued once and completely, or not at all."""

from __future__ import annotations

import anyio
import pytest

from oneshot_queue.spec import JobSpec, Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import claims
from oneshot_queue.store import enqueue as enqueue_store
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.enqueue import MAX_ENQUEUE_BYTES, Enqueued, Full, NewJob
from oneshot_queue.wire.specs import unpack_spec
from tests.support.builders import Held, Store, a_job_id, a_spec
from tests.support.cases import case
from tests.support.servers import Server


async def enqueue(store: Store, job_id: str, spec: JobSpec | None = None, limit: int = 100) -> Enqueued | Full:
    return await store.run(enqueue_store.enqueue(store.keys, job_id, spec or a_spec(), by="app@host", max_length=limit))


async def test_enqueued_job_waits_with_all_its_keys(store: Store) -> None:
    job_id = a_job_id()

    answer = await enqueue(store, job_id)

    assert answer == Enqueued(created=True)
    assert await store.key_names() == {"ready:normal", "state:CREATED", f"job:{job_id}", "bell"}
    known = await store.record_of(job_id)
    assert (known.state, known.attempt, known.spec) == (JobState.CREATED, 1, a_spec())
    assert [(row.state, row.by, row.at_ms) for row in known.history] == [
        (JobState.CREATED, "app@host", known.created_ms)
    ]


@pytest.mark.parametrize("priority", list(Priority))
async def test_each_priority_has_a_stream_of_its_own(store: Store, priority: Priority) -> None:
    await store.enqueue(a_spec(priority=priority))

    lengths = {each: await store.length(each) for each in Priority}

    assert lengths == {each: int(each is priority) for each in Priority}


async def test_enqueueing_an_id_again_changes_nothing(store: Store) -> None:
    job_id = a_job_id()
    await enqueue(store, job_id)
    before = await store.dump()

    answer = await enqueue(store, job_id, a_spec(["something", "else"], priority="high", stdin=b"x"))

    assert answer == Enqueued(created=False)
    assert await store.dump() == before


async def test_jobs_of_one_call_are_enqueued_independently_and_in_order(store: Store) -> None:
    known = await store.enqueue()
    new = [a_job_id() for _ in range(3)]
    jobs = [NewJob(each, a_spec(["echo", each])) for each in (new[0], known, new[1], new[1], new[2])]

    (call,) = enqueue_store.enqueue_many(store.keys, jobs, by="app@host", max_length=3)
    answers = await store.run(call)

    assert answers == [Enqueued(True), Enqueued(False), Enqueued(True), Enqueued(False), Full(3)]
    assert [claim.job_id for claim in await store.claim(await store.lease(), 5)] == [known, *new[:2]]
    assert (await store.record_of(new[1])).spec == a_spec(["echo", new[1]])


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([1] * 25, [10, 10, 5]),
        ([MAX_ENQUEUE_BYTES, 1, 1], [1, 2]),
        ([1, 1, MAX_ENQUEUE_BYTES, 1], [3, 1]),
    ],
)
async def test_no_call_exceeds_the_limits_for_jobs_and_bytes(store: Store, sizes: list[int], groups: list[int]) -> None:
    jobs = (NewJob(a_job_id(), a_spec(stdin=b"x" * size)) for size in sizes)

    answers = [
        await store.run(call) for call in enqueue_store.enqueue_many(store.keys, jobs, by="app@host", max_length=100)
    ]

    assert [len(group) for group in answers] == groups
    assert await store.length(Priority.NORMAL) == len(sizes)


async def test_enqueueing_an_id_again_succeeds_when_the_queue_is_full(store: Store) -> None:
    job_id = a_job_id()
    await enqueue(store, job_id, limit=1)

    answer = await enqueue(store, job_id, limit=1)

    assert answer == Enqueued(created=False)


@case("D8")
async def test_concurrent_enqueues_of_one_id_create_one_job(store: Store) -> None:
    job_id, answers = a_job_id(), []

    async def enqueue_it() -> None:
        answers.append(await enqueue(store, job_id))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(enqueue_it)

    assert sorted(answers, key=str) == [Enqueued(created=False)] * 49 + [Enqueued(created=True)]
    assert await store.length() == 1


async def test_full_queue_refuses_a_job_and_stores_nothing_of_it(store: Store) -> None:
    await enqueue(store, a_job_id(), a_spec(priority="high"))
    await enqueue(store, a_job_id(), a_spec(priority="low"))
    before = await store.dump()

    answer = await enqueue(store, a_job_id(), limit=2)

    assert answer == Full(2)
    assert await store.dump() == before


async def test_running_jobs_count_towards_the_limit_and_finished_ones_do_not(store: Store) -> None:
    held = await store.running()
    assert await enqueue(store, a_job_id(), limit=1) == Full(1)

    await store.finish(held)

    assert await enqueue(store, a_job_id(), limit=1) == Enqueued(created=True)


@pytest.mark.parametrize("stdin", [b"", b"\x00\xff" * 1000])
async def test_stdin_is_stored_beside_the_spec(store: Store, stdin: bytes) -> None:
    await store.enqueue(a_spec(["cat"], stdin=stdin))

    (claim,) = await store.claim(await store.lease())

    assert claim.stdin == stdin
    assert stdin not in claim.spec or stdin == b""
    assert unpack_spec(claim.spec, claim.stdin).stdin == stdin


async def test_job_without_stdin_has_no_stdin_key(store: Store) -> None:
    await store.enqueue()

    (claim,) = await store.claim(await store.lease())

    assert unpack_spec(claim.spec, claim.stdin).stdin is None
    assert not [name for name in await store.key_names() if name.startswith("stdin:")]


async def test_doorbell_holds_no_more_than_64_rings(store: Store) -> None:
    await store.enqueue_many(70)

    assert await store.redis.llen(store.keys.bell) == 64


async def test_name_of_the_caller_cannot_break_the_history(store: Store) -> None:
    job_id = await store.enqueue(by="eve\tCREATED\n!error\tx\x1b[2J" + "ü" * 100)

    (row,) = (await store.record_of(job_id)).history

    assert row.by is not None
    assert row.by.startswith("eve?CREATED?!error?x?[2J")
    assert len(row.by.encode()) <= 64


async def test_job_hash_keeps_its_compact_encoding_until_the_job_has_ended(store: Store, server: Server) -> None:
    if not server.is_real:
        pytest.skip("fakeredis has no encodings")
    await store.lease(lease := "w" * 62 + ".1")
    job_id = await store.enqueue(job_id="i" * 64, by="a" * 100)
    answer = await store.run(
        claims.claim(store.keys, lease=lease, worker="w" * 100, host="h" * 100, free=1, settings=store.settings),
    )
    assert isinstance(answer, claims.Claimed)
    (claim,) = answer.claims
    held = Held(job_id, Holder(claim.token, lease, "worker"))
    await store.record(held, "detect_silence", pid=4_194_304)
    await store.interrupt(job_id, reason="r" * 100, by="b" * 100)
    await store.finish(held, bytes=2**40, dropped=2**40)

    encoding = await store.redis.object("ENCODING", store.keys.job(job_id))

    assert encoding in (b"listpack", b"ziplist")
