"""Waiting for results and interrupts: announcements wake a waiter, and lost ones do not strand it."""

from __future__ import annotations

import uuid
from typing import Any

import anyio
import pytest

from oneshot_queue import (
    BrokerUnreachable,
    Cause,
    InterruptNotConfirmed,
    InterruptReport,
    InterruptResult,
    InvalidSetting,
    JobNotFound,
    JobState,
    Outcome,
    Unattended,
    WaitTimedOut,
)
from oneshot_queue.client import attention, effects
from oneshot_queue.client.effects import OUTAGE_PATIENCE_S, RunCalls, Verb
from oneshot_queue.client.verbs import interrupt as interrupt_verb
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.presence import show_presence
from oneshot_queue.wire.presences import WorkerPresence
from tests.support.builders import Store, a_job_id, a_spec, an_outcome, opened
from tests.support.clients import KINDS, OpenQueue, by_one_client, opened_client
from tests.support.limits import limit_s
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually

FINAL = [state for state in JobState if state.is_final]


async def listened_to(store: Store, job_id: str) -> None:
    """Wait until a client listens for announcements of a job."""
    channel = store.keys.events(job_id)

    async def listeners() -> int:
        ((_, number),) = await store.redis.pubsub_numsub(channel)
        return int(number)

    await eventually(listeners, is_some, what=f"a listener on {channel}")


def is_some(number: int) -> bool:
    return number > 0


async def show_worker(store: Store, name: str = "bert", concurrency: int = 1, **facts: Any) -> str:
    """Register a live worker of the queue, and return its lease."""
    worker_id = uuid.uuid4().hex
    presence = WorkerPresence(worker_id, name, "host", 1, (store.keys.queue,), concurrency, (), 1, 2, **facts)
    await store.run(show_presence(store.keys.namespace, presence))
    return await store.lease(f"{worker_id}.1")


@pytest.fixture
def only_announcements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable re-reading: only an announcement can wake a waiter now."""
    monkeypatch.setattr(effects, "RECHECK_S", 3_600.0)


@pytest.mark.parametrize("state", FINAL)
async def test_announced_result_wakes_the_waiter(
    open_queue: OpenQueue, store: Store, state: JobState, only_announcements: None
) -> None:
    held, outcomes = await store.running(), []
    async with open_queue() as queue, anyio.create_task_group() as tasks:
        job = await queue.get(held.id)

        async def wait() -> None:
            outcomes.append(await job.wait(timeout=limit_s(30)))

        tasks.start_soon(wait)
        await listened_to(store, held.id)
        await store.finish(held, an_outcome(state))

    assert outcomes == [an_outcome(state)]
    assert job.record.state is state


async def test_result_that_was_not_announced_is_still_seen(
    open_queue: OpenQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "RECHECK_S", 0.01)
    held, outcomes = await store.running(), []
    async with open_queue() as queue, anyio.create_task_group() as tasks:
        job = await queue.get(held.id)

        async def wait() -> None:
            outcomes.append(await job.wait(timeout=limit_s(30)))

        tasks.start_soon(wait)
        await listened_to(store, held.id)
        fields = {"state": "COMPLETED", "cause": "exit", "exit_code": 0, "ended": 1}
        await store.redis.hset(store.keys.job(held.id), mapping=fields)

    assert outcomes == [Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=0)]


async def test_wait_for_an_ended_job_returns_at_once(open_queue: OpenQueue, store: Store) -> None:
    held = await store.finished(JobState.FAILED)
    async with open_queue() as queue:
        job = await queue.get(held.id)

        assert await job.wait(timeout=0) == an_outcome(JobState.FAILED)


@pytest.mark.parametrize("timeout", [0, 0.05])
async def test_wait_that_times_out_reports_the_state(open_queue: OpenQueue, store: Store, timeout: float) -> None:
    held = await store.in_state(JobState.IDLE)
    async with open_queue() as queue:
        job = await queue.get(held.id)

        with pytest.raises(WaitTimedOut, match=f"{held.id} is still IDLE after {timeout:g} s") as over:
            await job.wait(timeout=timeout)

    assert isinstance(over.value, TimeoutError)
    assert await store.state_of(held.id) == "IDLE"


async def test_job_that_expires_during_a_wait_is_not_found(
    open_queue: OpenQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "RECHECK_S", 0.01)
    held = await store.running()
    async with open_queue() as queue:
        job = await queue.get(held.id)

        async def forget() -> None:
            await listened_to(store, held.id)
            await store.redis.delete(store.keys.job(held.id))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forget)
            with pytest.raises(JobNotFound):
                await job.wait(timeout=limit_s(30))


async def test_missing_worker_is_reported_at_once_and_only_once(
    open_queue: OpenQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "CHECK_WORKERS_S", 0.0)
    monkeypatch.setattr(effects, "RECHECK_S", 0.01)
    notices: list[Unattended] = []
    job_id = await store.enqueue()
    async with open_queue() as queue:
        job = await queue.get(job_id)
        with pytest.raises(WaitTimedOut):
            await job.wait(timeout=0.2, on_unattended=notices.append)

    assert notices == [Unattended(job_id, store.keys.queue, None)]


async def test_job_with_a_live_worker_is_not_reported(open_queue: OpenQueue, store: Store) -> None:
    notices: list[Unattended] = []
    lease = await show_worker(store)
    held, waiting = await store.running(lease=lease), await store.enqueue()
    async with open_queue() as queue:
        for job_id in (held.id, waiting):
            job = await queue.get(job_id)
            with pytest.raises(WaitTimedOut):
                await job.wait(timeout=0.05, on_unattended=notices.append)

    assert notices == []


async def test_worker_started_for_another_job_does_not_attend_this_one(open_queue: OpenQueue, store: Store) -> None:
    notices: list[Unattended] = []
    mine, waiting = await store.enqueue(), await store.enqueue()
    await show_worker(store, only_job=mine)
    async with open_queue() as queue:
        for job_id in (mine, waiting):
            job = await queue.get(job_id)
            with pytest.raises(WaitTimedOut):
                await job.wait(timeout=0.05, on_unattended=notices.append)

    assert notices == [Unattended(waiting, store.keys.queue, None)]


async def test_worker_that_claims_no_more_jobs_attends_only_those_it_runs(open_queue: OpenQueue, store: Store) -> None:
    notices: list[Unattended] = []
    lease = await show_worker(store, concurrency=0)
    held, waiting = await store.running(lease=lease), await store.enqueue()
    async with open_queue() as queue:
        for job_id in (held.id, waiting):
            job = await queue.get(job_id)
            with pytest.raises(WaitTimedOut):
                await job.wait(timeout=0.05, on_unattended=notices.append)

    assert notices == [Unattended(waiting, store.keys.queue, None)]


async def test_own_timeout_ends_a_wait_before_the_outage_limit(real_server: ServerProcess, keys: QueueKeys) -> None:
    async with opened(real_server.url, keys) as store, opened_client("Queue", real_server.url, keys) as queue:
        job = await queue.get((await store.running()).id)
        real_server.kill()
        began = anyio.current_time()

        with pytest.raises(BrokerUnreachable):
            await job.wait(timeout=0.5)

        assert anyio.current_time() - began < OUTAGE_PATIENCE_S / 2


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
async def test_user_who_may_not_subscribe_polls_at_a_bounded_rate(
    real_server: ServerProcess, real_store: Store, kind: str
) -> None:
    redis = real_store.redis
    await redis.execute_command("ACL", "SETUSER", "without-pubsub", "on", "nopass", "~*", "+@all", "resetchannels")
    held = await real_store.running()
    before = (await redis.info("stats"))["total_connections_received"]
    url = real_server.tcp_url.replace("redis://", "redis://without-pubsub:any@")
    async with opened_client(kind, url, real_store.keys) as queue:
        job = await queue.get(held.id)
        with pytest.raises(WaitTimedOut):
            await job.wait(timeout=2)
        refused = (await redis.info("errorstats")).get("errorstat_NOPERM")
        await real_store.finish(held)
        assert await job.wait(timeout=limit_s(20)) == an_outcome()

    assert refused, "the fault did not happen: the subscription was allowed"
    assert (await redis.info("stats"))["total_connections_received"] - before < 20


async def test_silent_worker_of_a_running_job_is_named(open_queue: OpenQueue, store: Store) -> None:
    notices: list[Unattended] = []
    held = await store.running()
    await show_worker(store, name="another")
    async with open_queue() as queue:
        job = await queue.get(held.id)
        with pytest.raises(WaitTimedOut):
            await job.wait(timeout=0.05, on_unattended=notices.append)

    assert notices == [Unattended(held.id, store.keys.queue, "worker")]


async def test_waiting_job_is_interrupted_when_the_call_returns(open_queue: OpenQueue, store: Store) -> None:
    async with open_queue() as queue:
        job = await queue.enqueue(["true"])

        report = await job.interrupt(reason="no")

    known = await store.record_of(job.id)
    assert report == InterruptReport(job.id, JobState.INTERRUPTED, known.ended_ms, InterruptResult.INTERRUPTED)
    assert known.reason == "no"


@pytest.mark.parametrize(
    ("state", "result"),
    [
        (JobState.INTERRUPTED, InterruptResult.INTERRUPTED),
        (JobState.COMPLETED, InterruptResult.ENDED_BY_ITSELF),
        (JobState.FAILED, InterruptResult.ENDED_BY_ITSELF),
    ],
)
async def test_interrupt_of_a_running_job_returns_its_result(
    open_queue: OpenQueue, store: Store, state: JobState, result: InterruptResult, only_announcements: None
) -> None:
    held, reports = await store.running(), []
    async with open_queue() as queue, anyio.create_task_group() as tasks:
        job = await queue.get(held.id)

        async def interrupt() -> None:
            reports.append(await job.interrupt(timeout=limit_s(30)))

        tasks.start_soon(interrupt)
        await listened_to(store, held.id)
        await store.finish(held, an_outcome(state))

    ended_ms = (await store.record_of(held.id)).ended_ms
    assert reports == [InterruptReport(held.id, state, ended_ms, result)]


async def test_interrupt_that_no_worker_answers_is_recorded_and_not_confirmed(
    open_queue: OpenQueue, store: Store
) -> None:
    held = await store.running()
    async with open_queue() as queue:
        job = await queue.get(held.id)
        with pytest.raises(InterruptNotConfirmed, match="gives no sign of life") as refusal:
            await job.interrupt(timeout=0.05)

    assert (refusal.value.state, refusal.value.worker) == ("RUNNING", None)
    assert (await store.record_of(held.id)).interrupting


async def test_interrupt_that_a_live_worker_does_not_confirm_names_it(open_queue: OpenQueue, store: Store) -> None:
    held = await store.running(lease=await show_worker(store))
    async with open_queue() as queue:
        job = await queue.get(held.id)
        with pytest.raises(InterruptNotConfirmed, match="worker worker is alive and has not confirmed it yet"):
            await job.interrupt(timeout=0.05)


@pytest.mark.parametrize(("own", "asked", "expected"), [(90.0, None, 110.0), (0.0, None, 30.0), (90.0, 1.0, 21.0)])
async def test_interrupt_waits_for_the_grace_period_plus_20_seconds(
    open_queue: OpenQueue,
    store: Store,
    own: float,
    asked: float | None,
    expected: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    def no_wait(_: Any, running: dict[str, str], timeout: float) -> Verb[dict[str, InterruptReport]]:
        waits.append(timeout)
        yield RunCalls([])
        return {}

    monkeypatch.setattr(interrupt_verb, "_wait_until_ended", no_wait)
    held = await store.running(a_spec(grace=own))
    async with open_queue() as queue:
        await queue.interrupt([held.id], grace=asked)

    assert waits == [expected]


@by_one_client
@pytest.mark.parametrize("grace", [-1.0, float("nan"), float("inf"), 1e12, "5", True])
async def test_invalid_grace_is_refused_and_nothing_is_written(open_queue: OpenQueue, store: Store, grace: Any) -> None:
    held = await store.running()
    before = await store.dump()
    async with open_queue() as queue:
        with pytest.raises(InvalidSetting, match="grace"):
            await queue.interrupt([held.id], grace=grace)

    assert await store.dump() == before


async def test_many_jobs_are_interrupted_at_once_and_reported_in_order(open_queue: OpenQueue, store: Store) -> None:
    ended, waiting, held = await store.finished(), await store.enqueue(), await store.running()
    unknown = a_job_id()
    async with open_queue() as queue:
        reports = await queue.interrupt([held.id, unknown, waiting, ended.id, waiting], timeout=0.05)
        nothing = await queue.interrupt([])

    assert [(report.job_id, report.result) for report in reports] == [
        (held.id, InterruptResult.NOT_CONFIRMED),
        (unknown, InterruptResult.NOT_FOUND),
        (waiting, InterruptResult.INTERRUPTED),
        (ended.id, InterruptResult.ALREADY_FINAL),
        (waiting, InterruptResult.INTERRUPTED),
    ]
    assert nothing == []


async def test_interrupt_without_confirmation_does_not_wait(open_queue: OpenQueue, store: Store) -> None:
    held = await store.running()
    async with open_queue() as queue:
        (report,) = await queue.interrupt([held.id], confirm=False, grace=1.0)

    assert report == InterruptReport(held.id, JobState.RUNNING, None, InterruptResult.RECORDED)
