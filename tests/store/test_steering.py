"""An interrupt ends a waiting job at once; for a running one it is recorded before it is announced."""

from __future__ import annotations

import anyio
import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import claims, leases
from oneshot_queue.store.leases import Intent, Renewed
from oneshot_queue.store.steering import AlreadyFinal, Ended, IntentRecorded, Missing
from tests.support.builders import LONG_NAME, Store, a_long_spec, a_spec, an_outcome
from tests.support.limits import limit_s


async def intents(store: Store, lease: str) -> tuple[Intent, ...]:
    renewed = await store.run(leases.renew(store.keys, lease, 30.0))
    assert isinstance(renewed, Renewed)
    assert await store.run(leases.read_intents(store.keys, lease)) == (renewed.intents, 0)
    return renewed.intents


@pytest.mark.parametrize("priority", list(Priority))
async def test_interrupted_waiting_job_ends_at_once_and_leaves_its_stream(store: Store, priority: Priority) -> None:
    spec = a_spec(priority=priority)
    before, job_id, behind = [await store.enqueue(spec) for _ in range(3)]

    answer = await store.interrupt(job_id, reason="not needed", by="ops@host")

    known = await store.record_of(job_id)
    assert answer == Ended(JobState.INTERRUPTED, known.ended_ms or 0)
    assert (known.state, known.cause, known.reason) == (JobState.INTERRUPTED, Cause.INTERRUPTED, "not needed")
    assert [(row.state, row.by) for row in known.history][1:] == [("INTERRUPTED", "ops@host")]
    assert await store.length(priority) == 2
    assert [claim.job_id for claim in await store.claim(await store.lease(), free=9)] == [before, behind]


async def test_history_names_the_first_user_who_interrupted(store: Store) -> None:
    held = await store.running()
    await store.interrupt(held.id, by="first@host", reason="enough")
    await store.redis.zrem(store.keys.workers, held.holder.lease)

    assert isinstance(await store.interrupt(held.id, by="second@host", reason="more"), Ended)

    known = await store.record_of(held.id)
    assert (known.history[-1].by, known.reason) == ("first@host", "enough")


async def test_all_keys_of_an_interrupted_waiting_job_expire(store: Store) -> None:
    job_id = await store.enqueue(a_long_spec(stdin=b"in"), by=LONG_NAME)

    await store.interrupt(job_id)

    own = {name: content for name, content in (await store.dump()).items() if job_id in name}
    assert sorted(name.partition(":")[0] for name in own) == ["job", "spec", "stdin", "text"]
    assert all(expires for _, expires, *_ in own.values())


async def test_interrupted_waiting_job_is_not_claimed_later(store: Store) -> None:
    lease, job_id = await store.lease(), await store.enqueue()
    await store.interrupt(job_id)

    assert await store.claim(lease, free=1) == []
    assert await store.claim_one(job_id, lease) == claims.Claimed((), 0)


async def test_running_job_gets_an_intent_and_keeps_running(store: Store) -> None:
    held = await store.running()

    answer = await store.interrupt(held.id, grace=2.5, reason="enough", by="ops@host")

    assert answer == IntentRecorded(JobState.RUNNING, "worker")
    assert await intents(store, held.holder.lease) == (Intent(held.id, 1, 2.5),)
    known = await store.record_of(held.id)
    assert (known.state, known.interrupting, known.reason) == (JobState.RUNNING, True, "enough")
    assert known.interrupt_requested_ms is not None
    assert await store.length() == 1


async def test_idle_job_gets_an_intent(store: Store) -> None:
    held = await store.in_state(JobState.IDLE)

    assert await store.interrupt(held.id) == IntentRecorded(JobState.IDLE, "worker")

    assert await intents(store, held.holder.lease) == (Intent(held.id, 1, None),)


@pytest.mark.parametrize(("grace", "expected"), [(None, None), (0.0, 0.0), (0.001, 0.001), (86_400.0, 86_400.0)])
async def test_grace_reaches_the_worker(store: Store, grace: float | None, expected: float | None) -> None:
    held = await store.running()

    await store.interrupt(held.id, grace=grace)

    assert await intents(store, held.holder.lease) == (Intent(held.id, 1, expected),)


async def test_repeated_interrupt_can_shorten_the_grace_and_keeps_the_first_user(store: Store) -> None:
    held = await store.running()
    await store.interrupt(held.id, grace=60.0, reason="first", by="first@host")
    first = await store.record_of(held.id)

    await store.interrupt(held.id, grace=0.0, reason="second", by="second@host")

    assert await intents(store, held.holder.lease) == (Intent(held.id, 1, 0.0),)
    again = await store.record_of(held.id)
    assert (again.reason, again.interrupt_requested_ms) == ("first", first.interrupt_requested_ms)
    await store.finish(held, an_outcome(JobState.INTERRUPTED))
    assert (await store.record_of(held.id)).history[-1].by == "first@host"


async def test_interrupt_is_announced_to_the_worker_and_to_waiting_clients(store: Store) -> None:
    held = await store.running()
    async with store.redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(store.keys.control, store.keys.events(held.id))
        for _ in range(2):
            await subscription.get_message(timeout=limit_s(5))

        await store.interrupt(held.id)

        received = [await subscription.get_message(timeout=limit_s(5)) for _ in range(2)]
    assert [(message["channel"].decode(), message["data"].decode()) for message in received if message] == [
        (store.keys.control, f"{held.id} 1"),
        (store.keys.events(held.id), "interrupting"),
    ]


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
async def test_interrupt_of_a_finished_job_returns_its_state_and_writes_nothing(store: Store, state: JobState) -> None:
    held = await store.in_state(state)
    ended_ms = (await store.record_of(held.id)).ended_ms
    before = await store.dump()

    answer = await store.interrupt(held.id, grace=0.0, reason="late")

    assert answer == AlreadyFinal(state, ended_ms or 0)
    assert await store.dump() == before


@pytest.mark.parametrize("job_id", ["nosuchjob1234567", "", "{x}:job:y", "a\nb", "é" * 300])
async def test_interrupt_of_an_unknown_job_writes_nothing(store: Store, job_id: str) -> None:
    held = await store.running()
    before = await store.dump()

    assert await store.interrupt(job_id) == Missing()

    assert await store.dump() == before
    assert await intents(store, held.holder.lease) == ()


async def test_interrupt_of_an_unknown_job_does_not_affect_a_later_job_with_that_id(store: Store) -> None:
    await store.interrupt("later-job")

    held = await store.running(job_id="later-job")

    assert await intents(store, held.holder.lease) == ()
    assert not (await store.record_of("later-job")).interrupting


async def test_many_interrupts_at_once_add_one_row(store: Store) -> None:
    waiting, held = await store.enqueue(), await store.running()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(store.interrupt, waiting)
            tasks.start_soon(store.interrupt, held.id)

    assert [row.state for row in (await store.record_of(waiting)).history] == ["CREATED", "INTERRUPTED"]
    assert [row.state for row in (await store.record_of(held.id)).history] == ["CREATED", "RUNNING"]
    assert await intents(store, held.holder.lease) == (Intent(held.id, 1, None),)


async def test_intents_reach_the_lease_that_holds_the_job_and_no_other(store: Store) -> None:
    mine, other = await store.running(), await store.running()

    await store.interrupt(mine.id)

    assert [intent.job_id for intent in await intents(store, mine.holder.lease)] == [mine.id]
    assert await intents(store, other.holder.lease) == ()
