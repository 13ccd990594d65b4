"""Jobs are found by id or prefix and listed by state and label; damaged ones never hide the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from oneshot_queue import AmbiguousJobId, BrokerError, JobNotFound, JobState, MalformedData
from oneshot_queue.client.verbs import get
from oneshot_queue.store import queues
from oneshot_queue.store.keys import QueueKeys
from tests.support.builders import Store, a_long_spec, a_spec, opened
from tests.support.cases import case
from tests.support.clients import OpenQueue, by_one_client
from tests.support.limits import limit_s
from tests.support.servers import Server


@pytest.fixture
async def other(server: Server, keys: QueueKeys) -> AsyncIterator[Store]:
    """Another queue of the same namespace."""
    async with opened(server.url, QueueKeys(keys.namespace, f"{keys.queue}-other")) as other:
        await other.run(queues.add_queue(keys.namespace, other.keys.queue))
        yield other


async def set_time(store: Store, job_id: str, at_ms: int) -> None:
    """Pretend that a waiting job was enqueued at this time."""
    await store.redis.zadd(store.keys.state(JobState.CREATED), {job_id: at_ms})
    await store.redis.hset(store.keys.job(job_id), mapping={"changed": at_ms, "created": at_ms})


async def test_job_is_found_by_its_id(open_queue: OpenQueue, store: Store) -> None:
    job_id = await store.enqueue(job_id="abc")

    async with open_queue() as queue:
        job = await queue.get("abc")

    assert (job.id, job.state, job.record.spec) == (job_id, JobState.CREATED, a_spec())


@pytest.mark.parametrize("state", list(JobState))
async def test_job_is_found_by_a_prefix_in_any_state(open_queue: OpenQueue, store: Store, state: JobState) -> None:
    held = await store.in_state(state)

    async with open_queue() as queue:
        job = await queue.get(held.id[:8])

    assert (job.id, job.state) == (held.id, state)


async def test_prefix_needs_four_characters(open_queue: OpenQueue, store: Store) -> None:
    await store.enqueue(job_id="abcdefgh")

    async with open_queue() as queue:
        with pytest.raises(JobNotFound):
            await queue.get("abc")
        assert (await queue.get("abcd")).id == "abcdefgh"


async def test_ambiguous_prefix_names_all_matches(open_queue: OpenQueue, store: Store, other: Store) -> None:
    for place, job_id in ((store, "abcd2"), (store, "abcd1"), (other, "abcd3")):
        await place.enqueue(job_id=job_id)

    async with open_queue() as queue:
        with pytest.raises(AmbiguousJobId, match="abcd1, abcd2, abcd3") as refusal:
            await queue.get("abcd")

    assert refusal.value.candidates == ("abcd1", "abcd2", "abcd3")


async def test_full_id_wins_over_a_longer_one(open_queue: OpenQueue, store: Store) -> None:
    for job_id in ("abcd", "abcde"):
        await store.enqueue(job_id=job_id)

    async with open_queue() as queue:
        assert (await queue.get("abcd")).id == "abcd"


@pytest.mark.parametrize("sought", ["from-elsewhere", "from-el"])
async def test_job_of_another_queue_is_found_and_controlled_there(
    open_queue: OpenQueue, store: Store, other: Store, sought: str
) -> None:
    await other.enqueue(job_id="from-elsewhere")

    async with open_queue() as queue:
        job = await queue.get(sought)
        await job.interrupt()

    assert job.queue == other.keys.queue
    assert await other.state_of("from-elsewhere") == "INTERRUPTED"


async def test_same_id_in_two_queues_is_two_jobs_and_the_own_one_is_found(
    open_queue: OpenQueue, store: Store, other: Store
) -> None:
    await other.enqueue(a_spec(["other"]), job_id="twin")
    await store.enqueue(a_spec(["own"]), job_id="twin")

    async with open_queue() as queue:
        job = await queue.get("twin")

    assert (job.queue, job.record.spec) == (store.keys.queue, a_spec(["own"]))


async def test_prefix_is_searched_among_the_newest_jobs_and_an_id_among_all(
    open_queue: OpenQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get, "NEWEST", 3)
    for age, job_id in enumerate(["new-1", "new-2", "new-3", "old-job"]):
        await store.enqueue(job_id=job_id)
        await set_time(store, job_id, 1_000_000 - age)

    async with open_queue() as queue:
        with pytest.raises(JobNotFound):
            await queue.get("old-")
        assert (await queue.get("old-job")).id == "old-job"
        assert (await queue.get("new-3"[:5])).id == "new-3"


@pytest.mark.parametrize("sought", ["unknown", "", "*", "a?cd", "x\ny", "{q}", "a" * 65])
@by_one_client
async def test_unknown_id_is_not_found_whatever_it_contains(open_queue: OpenQueue, store: Store, sought: str) -> None:
    await store.enqueue(job_id="abcd")

    async with open_queue() as queue:
        with pytest.raises(JobNotFound):
            await queue.get(sought)


async def test_list_is_sorted_by_last_change(open_queue: OpenQueue, store: Store) -> None:
    ids = [await store.enqueue(job_id=f"job-{number}") for number in range(5)]
    for number, job_id in enumerate(ids):
        await set_time(store, job_id, 1_000_000 + (number * 2) % 5)

    async with open_queue() as queue:
        jobs = await queue.list()
        newest = await queue.list(limit=2)
        none = await queue.list(limit=0)

    assert [job.id for job in jobs] == ["job-2", "job-4", "job-1", "job-3", "job-0"]
    assert [job.id for job in newest] == ["job-2", "job-4"]
    assert none == []


async def test_list_is_filtered_by_states(open_queue: OpenQueue, store: Store) -> None:
    jobs = {state: await store.in_state(state) for state in JobState}

    async with open_queue() as queue:
        failed = await queue.list(state="FAILED")
        unfinished = await queue.list(state=["CREATED", JobState.RUNNING, JobState.IDLE])

    assert [job.id for job in failed] == [jobs[JobState.FAILED].id]
    assert {job.id for job in unfinished} == {jobs[state].id for state in JobState if not state.is_final}


async def test_list_is_filtered_by_all_of_the_labels(open_queue: OpenQueue, store: Store) -> None:
    both = await store.enqueue(a_spec(labels={"a": "1", "b": "2"}))
    await store.enqueue(a_spec(labels={"a": "1"}))
    await store.enqueue(a_spec(labels={"a": "1", "b": "3"}))

    async with open_queue() as queue:
        jobs = await queue.list(labels={"a": "1", "b": "2"})

    assert [job.id for job in jobs] == [both]


async def test_labelled_jobs_far_down_are_found_in_order_across_states(
    open_queue: OpenQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page of one state has older matches than the second page of another."""
    await store.enqueue_many(205)
    far, old = await store.enqueue(a_spec(labels={"x": "1"})), await store.running(a_spec(labels={"x": "1"}))
    await set_time(store, far, 2_000)
    await store.redis.zadd(store.keys.state(JobState.RUNNING), {old.id: 1_000})
    await store.redis.hset(store.keys.job(old.id), "changed", 1_000)

    async with open_queue() as queue:
        jobs = await queue.list(labels={"x": "1"}, limit=1)

    assert [job.id for job in jobs] == [far]


async def test_list_of_all_queues_includes_other_queues(open_queue: OpenQueue, store: Store, other: Store) -> None:
    await store.run(queues.add_queue(store.keys.namespace, store.keys.queue))
    mine, theirs = await store.enqueue(), await other.enqueue()

    async with open_queue() as queue:
        here, everywhere = await queue.list(), await queue.list(everywhere=True)

    assert [job.id for job in here] == [mine]
    assert {(job.id, job.queue) for job in everywhere} == {(mine, store.keys.queue), (theirs, other.keys.queue)}


@by_one_client
async def test_invalid_names_among_the_queues_are_skipped(open_queue: OpenQueue, store: Store) -> None:
    job_id = await store.enqueue()
    for name in (b"a b", b"{x}", b"\xff\xfe", b"x" * 65, b""):
        await store.redis.sadd(f"{{{store.keys.namespace}}}:queues", name)

    async with open_queue() as queue:
        assert await queue.queues() == []
        assert await queue.workers() == []
        assert await queue.list(everywhere=True) == []
        assert (await queue.get(job_id)).id == job_id


HOSTILE_FIELDS: dict[str, dict[str, str]] = {
    "an unknown state": {"state": "BOGUS"},
    "an attempt that is no number": {"attempt": "x"},
    "a time that is no number": {"created": ""},
    "a time beyond all dates": {"changed": "9" * 30},
    "a time before all dates": {"changed": "-1"},
    "an end beyond all dates": {"ended": "9" * 16},
    "a number of 5,000 digits": {"pid": "9" * 5_000},
    "an unknown cause": {"cause": "bogus"},
    "an exit code that is no number": {"exit_code": "zero"},
    "CPU time that is no time": {"usage": "nan 0 1"},
    "endless CPU time": {"usage": "inf 0 1"},
    "usage with parts missing": {"usage": "1"},
    "a history that is none": {"log": "x"},
    "a history of an unknown state": {"log": "z0\n"},
}


@case("V9")
@pytest.mark.parametrize("fields", HOSTILE_FIELDS.values(), ids=HOSTILE_FIELDS)
@by_one_client
async def test_damaged_record_is_malformed_alone_and_left_out_of_lists(
    open_queue: OpenQueue, store: Store, fields: dict[str, str]
) -> None:
    good, bad = await store.enqueue(), await store.enqueue()
    await store.redis.hset(store.keys.job(bad), mapping=fields)

    async with open_queue() as queue:
        jobs = await queue.list()
        with pytest.raises(MalformedData, match=bad):
            await queue.get(bad)

    assert [job.id for job in jobs] == [good]


HOSTILE_TEXTS = {
    "no rows": b"\t\t\t\n",
    "a row of one word": b"hello\n",
    "a row with a state of its own": b"1\t1\tBOGUS\t\t\n",
    "a row out of time": b"99999999999999999999\t1\tCREATED\t\t\n",
    "bytes": bytes(range(256)),
    "a count that is none": b"!dropped\tmany\n",
}


@pytest.mark.parametrize("raw", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
@by_one_client
async def test_damaged_history_is_malformed_alone_and_left_out_of_lists(
    open_queue: OpenQueue, store: Store, raw: bytes
) -> None:
    good, bad = await store.enqueue(), await store.enqueue()
    await store.redis.set(store.keys.text(bad), raw)

    async with open_queue() as queue:
        jobs = await queue.list()
        with pytest.raises(MalformedData, match=bad):
            await queue.get(bad)

    assert [job.id for job in jobs] == [good]


@pytest.mark.parametrize("raw", [b"", b"\x01\xc1", b"\x02\x80", b"x" * 600_000], ids=["empty", "bad", "new", "bomb"])
@by_one_client
async def test_damaged_spec_leaves_the_rest_of_the_record_readable(
    open_queue: OpenQueue, store: Store, raw: bytes
) -> None:
    job_id = await store.enqueue(a_long_spec())
    await store.redis.set(store.keys.spec(job_id), raw)

    async with open_queue() as queue:
        (listed,) = await queue.list()
        assert await queue.list(labels={"a": "b"}) == []
        with pytest.raises(MalformedData):
            await queue.retry(job_id)

    assert (listed.id, listed.record.spec) == (job_id, None)


@pytest.mark.parametrize("name", ["job", "spec", "text"])
@by_one_client
async def test_key_of_another_type_is_reported_and_left_out_of_lists(
    open_queue: OpenQueue, store: Store, name: str
) -> None:
    good, bad = await store.enqueue(), await store.enqueue()
    key = getattr(store.keys, name)(bad)
    await store.redis.delete(key)
    await store.redis.sadd(key, "x")

    async with open_queue() as queue:
        jobs = await queue.list()
        with pytest.raises(BrokerError, match="WRONGTYPE"):
            await queue.get(bad)

    assert [job.id for job in jobs] == [good]


@pytest.mark.parametrize("score", ["inf", "-inf", "1e300", "-5", "0.5"])
@by_one_client
async def test_hostile_rows_of_an_index_do_not_break_lists(open_queue: OpenQueue, store: Store, score: str) -> None:
    good = await store.enqueue()
    rows: dict[Any, str] = {"unknown": score, "a\nb": score, "x" * 300: score, b"\xff\xfe": score, "{x}:job:y": score}
    await store.redis.zadd(store.keys.state(JobState.CREATED), rows)

    async with open_queue() as queue:
        jobs = await queue.list()
        few = await queue.list(limit=1)
        found = await queue.get(good[:10])

    assert [job.id for job in jobs] == [good] == [job.id for job in few]
    assert found.id == good


async def test_unknown_fields_are_ignored(open_queue: OpenQueue, store: Store) -> None:
    job_id = await store.enqueue()
    await store.redis.hset(store.keys.job(job_id), mapping={"later": "version", b"\xff": b"\xfe"})

    async with open_queue() as queue:
        assert (await queue.get(job_id)).id == job_id


@case("V9")
async def test_unknown_state_is_malformed_for_a_waiter(open_queue: OpenQueue, store: Store) -> None:
    job_id = await store.enqueue()
    async with open_queue() as queue:
        job = await queue.get(job_id)
        await store.redis.hset(store.keys.job(job_id), "state", "BOGUS")

        with pytest.raises(MalformedData):
            await job.wait(timeout=limit_s(5))
