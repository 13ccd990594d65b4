"""A claimed job that never began is requeued; a job that loses worker after worker fails as poison."""

from __future__ import annotations

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Fenced, Holder, Recorded
from oneshot_queue.store.claims import MAX_RETURNS, Returned
from tests.store.recovery import a_retried_spec, give_back, members_of, names_of, rows, sweep
from tests.support.builders import Held, Store, a_chunk, a_spec


async def test_requeued_attempt_waits_behind_the_others(store: Store) -> None:
    held, behind = await store.running(), await store.enqueue()
    await store.record(held, pid=17)
    await store.redis.delete(store.keys.bell)

    assert await give_back(store, held, why="no_fds") == Returned()

    known = await store.record_of(held.id)
    assert (known.state, known.attempt, known.worker, known.pid) == (JobState.CREATED, 1, None, None)
    assert await rows(store, held.id) == [(1, "CREATED", None), (1, "RUNNING", None), (1, "CREATED", "no_fds")]
    assert known.history[-1].by == "worker"
    assert await store.redis.llen(store.keys.bell) == 1
    claims = await store.claim(await store.lease(), free=5)
    assert [(claim.job_id, claim.attempt) for claim in claims] == [(behind, 1), (held.id, 1)]
    assert await store.length() == 2


async def test_old_holder_is_fenced_once_the_job_is_held_again(store: Store) -> None:
    held = await store.running()
    await give_back(store, held)
    again = await store.held(held.id, await store.lease())
    before = await store.dump()

    assert int(again.holder.token.partition("-")[0]) > int(held.holder.token.partition("-")[0])
    assert await give_back(store, held, is_counted=True) == Fenced()
    assert await store.record(held, "detect_silence") == Fenced()
    assert await store.append(held, a_chunk(1)) == Fenced()
    assert await store.finish(held) == Fenced()
    assert await store.dump() == before


async def test_repeated_requeue_is_acknowledged_and_counts_once(store: Store) -> None:
    held = await store.running()
    await give_back(store, held, is_counted=True)
    before = await store.dump()

    assert await give_back(store, held, is_counted=True) == Recorded()

    assert await store.dump() == before


async def test_job_that_was_requeued_too_often_fails_as_poison(store: Store) -> None:
    held = await store.running(a_retried_spec())
    for _ in range(MAX_RETURNS - 1):
        assert await give_back(store, held, is_counted=True) == Returned()
        held = await store.held(held.id, held.holder.lease)

    assert await give_back(store, held, is_counted=True) == Recorded(JobState.FAILED)

    known = await store.record_of(held.id)
    assert (known.state, known.cause, known.attempt) == (JobState.FAILED, Cause.POISON, 1)
    assert f"{MAX_RETURNS} times" in (known.error or "")
    assert (await store.length(), await store.pending()) == (0, [])
    for name in await names_of(store, held.id):
        assert await store.redis.ttl(f"{store.keys.prefix}:{name}") > 0


async def test_requeues_that_are_not_the_jobs_fault_are_not_counted(store: Store) -> None:
    held = await store.running()
    for _ in range(3 * MAX_RETURNS):
        assert await give_back(store, held) == Returned()
        held = await store.held(held.id, held.holder.lease)

    await store.finish(held)

    assert await store.state_of(held.id) == "COMPLETED"


@pytest.mark.parametrize("is_counted", [True, False])
async def test_interrupted_job_ends_instead_of_being_requeued(store: Store, is_counted: bool) -> None:
    held = await store.running(a_retried_spec())
    await store.interrupt(held.id, by="ops@host", reason="enough")

    assert await give_back(store, held, is_counted=is_counted) == Recorded(JobState.INTERRUPTED)

    known = await store.record_of(held.id)
    assert (known.cause, known.history[-1].by, known.is_confirmed) == (Cause.INTERRUPTED, "ops@host", True)
    assert not await names_of(store, "intents")
    assert await store.length() == 0


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
async def test_finished_job_is_not_requeued(store: Store, state: JobState) -> None:
    held = await store.in_state(state)
    before = await store.dump()

    assert await give_back(store, held) == Fenced()

    assert await store.dump() == before


async def test_job_that_was_never_claimed_is_not_requeued(store: Store) -> None:
    held = await store.running()
    before = await store.dump()

    for holder in (Holder("", held.holder.lease, "worker"), Holder(held.holder.token, "other.1", "worker")):
        assert await give_back(store, Held(held.id, holder)) == Fenced()
    assert await give_back(store, Held("nosuchjob", held.holder)) == Fenced()

    assert await store.dump() == before


async def test_requeued_job_is_not_settled_with_its_old_lease(store: Store) -> None:
    held = await store.running()
    await give_back(store, held)

    await sweep(store, held.holder.lease)

    assert await store.state_of(held.id) == "CREATED"
    assert await members_of(store, "state:RUNNING") == []


async def test_requeued_job_keeps_its_priority(store: Store) -> None:
    held, low = await store.running(a_spec(priority="high")), await store.enqueue(a_spec(priority="low"))

    await give_back(store, held)

    assert [claim.job_id for claim in await store.claim(held.holder.lease, free=5)] == [held.id, low]
