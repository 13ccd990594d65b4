"""What the verbs of ``Queue`` and ``SyncQueue`` do, and that both have the same ones."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest

from oneshot_queue import (
    InvalidJob,
    InvalidSetting,
    Job,
    JobNotFound,
    JobSpec,
    JobState,
    Queue,
    QueueFull,
    SyncJob,
    SyncQueue,
)
from oneshot_queue.store import presence
from oneshot_queue.wire.presences import WorkerPresence
from tests.support.builders import Store, a_job_id, a_lease, a_spec, an_outcome
from tests.support.clients import OpenQueue, by_one_client


def verbs(kind: type) -> dict[str, list[tuple[str, Any, Any]]]:
    """The names and parameters of the public methods."""
    return {
        name: [(each.name, each.kind, each.default) for each in inspect.signature(value).parameters.values()]
        for name, value in inspect.getmembers(kind, callable)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(("asynchronous", "blocking"), [(Queue, SyncQueue), (Job, SyncJob)])
def test_both_clients_have_the_same_verbs_with_the_same_parameters(asynchronous: type, blocking: type) -> None:
    assert verbs(asynchronous) == verbs(blocking)
    assert inspect.signature(asynchronous).parameters.keys() == inspect.signature(blocking).parameters.keys()


@pytest.mark.parametrize(("asynchronous", "blocking"), [(Queue, SyncQueue), (Job, SyncJob)])
def test_both_clients_have_the_same_docstrings(asynchronous: type, blocking: type) -> None:
    for name in verbs(asynchronous):
        own, other = (inspect.getdoc(getattr(kind, name)) for kind in (asynchronous, blocking))
        assert own is not None
        assert other == own.replace("``Job.", "``SyncJob.")


async def test_enqueued_job_is_stored_with_all_its_options(open_queue: OpenQueue, store: Store) -> None:
    options: dict[str, Any] = {
        "name": "build",
        "cwd": "/srv",
        "env": {"A": "1"},
        "labels": {"team": "red"},
        "priority": "high",
        "stdin": b"in",
        "time_limit": 60.0,
        "idle_after": 5.0,
        "idle_timeout": 50.0,
        "grace": 2.0,
        "success_codes": (0, 3),
        "pty": True,
    }
    async with open_queue() as queue:
        job = await queue.enqueue(["make", b"-j\xff"], **options)

    (claim,) = await store.claim(await store.lease())
    assert (claim.job_id, claim.stdin) == (job.id, b"in")
    stored = (await store.record_of(job.id)).spec
    assert stored is not None
    assert replace(stored, stdin=b"in") == JobSpec(["make", b"-j\xff"], **options)


async def test_job_that_was_just_enqueued_is_created(open_queue: OpenQueue, store: Store) -> None:
    async with open_queue() as queue:
        job = await queue.enqueue(["true"])

        assert (job.state, job.created, job.record, job.queue) == (JobState.CREATED, True, None, store.keys.queue)
        assert (await job.refresh()).record.spec == a_spec()


async def test_enqueueing_an_existing_id_returns_the_existing_job(open_queue: OpenQueue, store: Store) -> None:
    held = await store.finished()
    async with open_queue() as queue:
        job = await queue.enqueue(["false"], id=held.id)

    assert (job.id, job.created, job.state) == (held.id, False, JobState.COMPLETED)
    assert job.record.spec == a_spec()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ([], {}),
        ([""], {}),
        ("true", {}),
        (["a\0b"], {}),
        (["true"], {"id": "last"}),
        (["true"], {"id": "a b"}),
        (["true"], {"id": "x" * 65}),
        (["true"], {"id": "{x}:job:y"}),
        (["true"], {"time_limit": -1.0}),
        (["true"], {"grace": float("nan")}),
        (["true"], {"labels": {"a b": "c"}}),
        (["true"], {"priority": "urgent"}),
        (["true"], {"env": {"ONESHOT_JOB_ID": "x"}}),
        (["true"], {"stdin": b"x" * 1_048_577}),
        (["true"], {"cwd": "relative"}),
        (["true"], {"name": "a/b"}),
    ],
    ids=lambda given: str(given)[:80],  # pytest puts a test's name into the environment, which has its limits
)
@by_one_client
async def test_invalid_job_is_refused_and_nothing_is_stored(
    open_queue: OpenQueue, store: Store, command: Any, options: dict[str, Any]
) -> None:
    async with open_queue() as queue:
        with pytest.raises(InvalidJob):
            await queue.enqueue(command, **options)

    assert not [name async for name in store.redis.scan_iter(match=f"{{{store.keys.namespace}*", count=1000)]


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "{q}", "q\n", "q:job", "*", "ü"])
def test_invalid_queue_name_is_refused(name: str) -> None:
    for kind in (Queue, SyncQueue):
        with pytest.raises(InvalidSetting, match="queue"):
            kind("redis://nowhere", queue=name)


async def test_full_queue_refuses_a_job(open_queue: OpenQueue, store: Store) -> None:
    async with open_queue(max_queue_length=2) as queue:
        await queue.enqueue_many([["true"], ["true"]])
        before = await store.dump()

        with pytest.raises(QueueFull, match=r"2 jobs wait or run, and the limit is 2") as refusal:
            await queue.enqueue(["true"])

    assert refusal.value.queue == store.keys.queue
    assert await store.dump() == before


async def test_queue_that_fills_up_keeps_the_jobs_before_the_limit(open_queue: OpenQueue, store: Store) -> None:
    async with open_queue(max_queue_length=3) as queue:
        with pytest.raises(QueueFull):
            await queue.enqueue_many([["true"]] * 5)

        assert len(await queue.unfinished()) == 3


async def test_many_jobs_are_stored_in_order_and_invalid_ones_are_returned_in_place(
    open_queue: OpenQueue, store: Store
) -> None:
    jobs: list[Any] = [[] if number % 20 == 7 else ["echo", str(number)] for number in range(240)]
    jobs[9] = JobSpec(["echo", "9"], priority="normal")
    async with open_queue() as queue:
        results = await queue.enqueue_many(jobs)

    assert [number for number, each in enumerate(results) if isinstance(each, InvalidJob)] == list(range(7, 240, 20))
    valid = [each for each in results if not isinstance(each, InvalidJob)]
    claims = [claim for _ in range(3) for claim in await store.claim(await store.lease(), free=100)]
    assert [claim.job_id for claim in claims] == [job.id for job in valid]
    assert (await store.record_of(valid[-1].id)).spec == a_spec(["echo", "239"])


async def test_enqueueing_no_jobs_returns_none(open_queue: OpenQueue) -> None:
    async with open_queue() as queue:
        assert await queue.enqueue_many([]) == []


async def test_retry_is_a_new_job_of_the_same_spec_in_the_same_queue(open_queue: OpenQueue, store: Store) -> None:
    spec = a_spec(["cat"], stdin=b"in", priority="high", labels={"a": "b"})
    held = await store.running(spec)
    await store.finish(held, an_outcome(JobState.FAILED))

    async with open_queue() as queue:
        job = await queue.retry(held.id)

    assert job.id != held.id
    (claim,) = await store.claim(await store.lease())
    assert (claim.job_id, claim.stdin) == (job.id, b"in")
    again = (await store.record_of(job.id)).spec
    assert again is not None
    assert replace(again, stdin=b"in") == replace(spec, retry_of=held.id)


async def test_retry_of_an_unknown_job_is_refused(open_queue: OpenQueue) -> None:
    async with open_queue() as queue:
        with pytest.raises(JobNotFound):
            await queue.retry(a_job_id())


async def test_handle_of_an_expired_job_raises_not_found(open_queue: OpenQueue, store: Store) -> None:
    async with open_queue() as queue:
        job = await queue.enqueue(["true"])
        await store.redis.delete(store.keys.job(job.id))

        for verb in (job.refresh, job.wait, job.interrupt):
            with pytest.raises(JobNotFound):
                await verb()
        with pytest.raises(JobNotFound):
            await anext(job.output())


async def test_ping_answers(open_queue: OpenQueue) -> None:
    async with open_queue() as queue:
        await queue.ping()


async def test_unfinished_are_those_that_wait_or_run(open_queue: OpenQueue, store: Store) -> None:
    jobs = {state: await store.in_state(state) for state in JobState}

    async with open_queue() as queue:
        ids = await queue.unfinished()

    assert sorted(ids) == sorted(jobs[state].id for state in JobState if not state.is_final)


async def test_queues_are_counted_by_state(open_queue: OpenQueue, store: Store) -> None:
    for state in JobState:
        await store.in_state(state)
    await store.enqueue()

    async with open_queue() as queue:
        await queue.enqueue(["true"])
        (counts,) = await queue.queues()

    assert counts.queue == store.keys.queue
    assert counts.states == {state: 3 if state is JobState.CREATED else 1 for state in JobState}
    assert counts.ready == 3


async def test_workers_are_those_with_a_lease_and_a_presence(open_queue: OpenQueue, store: Store) -> None:
    queue_name, lease, silent = store.keys.queue, a_lease(), await store.lease()
    await store.lease(lease)
    alive = WorkerPresence(lease.partition(".")[0], "bert", "host", 1, (queue_name,), 4, ("job",), 1, 2)
    await store.run(presence.show_presence(store.keys.namespace, alive))
    stranger = replace(alive, id="stranger")
    await store.run(presence.show_presence(store.keys.namespace, stranger))

    async with open_queue() as queue:
        here, everywhere = await queue.workers(everywhere=False), await queue.workers()
        await queue.enqueue(["true"])
        known = await queue.workers()

    assert silent != lease
    assert here == [alive]
    assert everywhere == []  # no job was ever enqueued, so the queue is not registered yet
    assert known == [alive]
