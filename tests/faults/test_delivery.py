"""Every accepted job starts once and gets one result (D)."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from oneshot_queue import BrokerUnreachable, InvalidJob, JobSpec, JobState, SyncJob, SyncQueue
from oneshot_queue.store import claims
from oneshot_queue.store.claims import Claimed
from oneshot_queue.store.leases import register
from oneshot_queue.store.transport.connection import AsyncConnection
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.faults import frozen
from tests.support.waiting import wait_until
from tests.support.wire import Wire
from tests.support.wire_faults import latency, lost_replies


def ids_of(jobs: list[SyncJob | InvalidJob]) -> list[str]:
    return [job.id for job in jobs if isinstance(job, SyncJob)]


@pytest.mark.thorough
@case("D1")
def test_thousand_jobs_on_four_workers_start_once_each(own_deployment: Deployment, watcher: ResultWatcher) -> None:
    for _ in range(4):
        own_deployment.start_worker(concurrency=3)

    jobs = ids_of(
        own_deployment.queue.enqueue_many([own_deployment.witness.command("echo token=$ONESHOT_TOKEN")] * 1000)
    )
    verdict = check_invariants(own_deployment, acknowledged=jobs, watcher=watcher, limit_s=50)

    assert_invariants(verdict)
    assert own_deployment.witness.times("start") == own_deployment.witness.times("end") == dict.fromkeys(jobs, 1)


@pytest.mark.thorough
@case("D5")
def test_worker_frozen_for_less_than_its_lease_keeps_its_jobs(
    own_deployment: Deployment, watcher: ResultWatcher
) -> None:
    own_deployment.tune(lease_s=6.0)
    first, second = own_deployment.start_worker(concurrency=2), own_deployment.start_worker(concurrency=2)
    jobs = [own_deployment.enqueue("sleep 0.5; echo token=$ONESHOT_TOKEN") for _ in range(8)]
    own_deployment.witness.until_count("start", 4)
    leases = own_deployment.leases()

    with frozen(first.worker_pid):
        began = own_deployment.redis.time()[0]
        wait_until(lambda: own_deployment.redis.time()[0], lambda now: now >= began + 3, what="half a lease to pass")
        assert own_deployment.leases() == leases

    verdict = check_invariants(own_deployment, acknowledged=[job.id for job in jobs], watcher=watcher)
    assert_invariants(verdict)
    assert {record_of(job).state for job in jobs} == {JobState.COMPLETED}
    assert own_deployment.leases() == leases
    first.stop()
    second.stop()


@case("D7")
def test_enqueue_repeated_after_a_lost_reply_creates_one_job(
    own_deployment: Deployment, wire: Wire, watcher: ResultWatcher
) -> None:
    settings = replace(own_deployment.settings, url=wire.url)
    with SyncQueue(queue=own_deployment.queue_name, settings=settings) as producer:
        lost = wire.lose_reply(b"created")
        with pytest.raises(BrokerUnreachable):
            producer.enqueue(own_deployment.witness.command(), id="once")
        lost.assert_happened()

        again = producer.enqueue(own_deployment.witness.command(), id="once")

    assert (again.id, again.created) == ("once", False)
    assert own_deployment.entries() == 1
    own_deployment.start_worker()
    assert_invariants(check_invariants(own_deployment, acknowledged=["once"], watcher=watcher))


@pytest.mark.thorough
@case("D7")
def test_producer_whose_replies_are_all_lost_gives_up_and_can_repeat_its_enqueue(
    own_deployment: Deployment, wire: Wire
) -> None:
    settings = replace(own_deployment.settings, url=wire.url)
    with SyncQueue(queue=own_deployment.queue_name, settings=settings) as producer:
        producer.ping()
        with wire.impaired(lost_replies()) as fault:
            with pytest.raises(BrokerUnreachable):
                producer.enqueue(own_deployment.witness.command(), id="once")
            fault.assert_happened()

        assert producer.enqueue(own_deployment.witness.command(), id="once").id == "once"

    own_deployment.start_worker()
    assert_invariants(check_invariants(own_deployment, acknowledged=["once"]))
    assert own_deployment.witness.times("start") == {"once": 1}


@pytest.mark.thorough
@case("D14")
def test_slow_worker_holds_no_more_jobs_than_slots_and_a_fast_one_runs_most(
    own_deployment: Deployment, wire: Wire, watcher: ResultWatcher
) -> None:
    fault = wire.impair(latency(0.05))
    own_deployment.start_worker(url=wire.url, concurrency=3, arguments=["--name", "slow"])
    own_deployment.start_worker(concurrency=3, arguments=["--name", "fast"])

    jobs = ids_of(own_deployment.queue.enqueue_many([own_deployment.witness.command()] * 400))
    unstarted: list[int] = []

    def look() -> int:
        held = own_deployment.redis.zrange(own_deployment.keys.state(JobState.RUNNING), 0, -1)
        # Read in this order, a job that starts meanwhile is not counted as held.
        unstarted.append(len({raw.decode() for raw in held} - set(own_deployment.witness.times("start"))))
        return own_deployment.entries()

    wait_until(look, lambda left: left == 0, what="all jobs to end")

    fault.assert_happened(times=20)
    assert max(unstarted) <= 3 + 3, "a worker held jobs without a free slot"
    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, watcher=watcher))
    workers = {each: record_of(own_deployment.queue.get(each)).worker for each in jobs}
    for name in ("slow", "fast"):
        running = peak = 0
        for each in own_deployment.witness.events():
            if workers[each.job_id] == name:
                running += 1 if each.event == "start" else -1
                peak = max(peak, running)
        assert peak <= 3
    done = list(workers.values())
    assert done.count("fast") > done.count("slow") > 0


@case("D17")
async def test_claims_cancelled_at_any_moment_lose_no_job(own_deployment: Deployment, rng: random.Random) -> None:
    keys, settings = own_deployment.keys, own_deployment.settings
    lease, who = "reader.1", {"worker": "w", "host": "h"}
    connection = AsyncConnection(own_deployment.url)
    await connection.run(register(keys, lease, 60))
    received: dict[str, str] = {}
    accepted: list[str] = []
    answered = 0
    limit_s = 0.001
    async with own_deployment.new_async_client() as producer:
        for _ in range(300):
            accepted.append((await producer.enqueue(["true"])).id)
            limit_s *= 1.25
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_at, group.cancel_scope, anyio.current_time() + rng.uniform(0.0, limit_s))
                answer = await connection.run(claims.claim(keys, lease=lease, free=3, settings=settings, **who))
                assert isinstance(answer, Claimed)
                received |= {each.job_id: each.token for each in answer.claims}
                answered += 1
                # Adapts to the machine, so that some claims finish and some are cancelled.
                limit_s *= 0.6
                group.cancel_scope.cancel()

    rest = dict(received)
    while len(rest) < len(accepted):
        known = list(rest.values())
        for call in (
            claims.reclaim(keys, lease=lease, known=known),
            claims.claim(keys, lease=lease, free=100, settings=settings, **who),
        ):
            answer = await connection.run(call)
            assert isinstance(answer, Claimed)
            assert not {each.job_id for each in answer.claims} & set(received), "a job was handed out twice"
            rest |= {each.job_id: each.token for each in answer.claims}
    await connection.aclose()

    assert 20 < answered < 280, "the fault did not happen often enough, or always"
    assert set(rest) == set(accepted)
    assert len(set(rest.values())) == len(accepted)


async def _cancel_at(scope: anyio.CancelScope, instant_s: float) -> None:
    # A deadline would only take effect when the event loop wakes up, in whole milliseconds.
    while anyio.current_time() < instant_s:
        await anyio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.thorough
@case("D18")
def test_enqueue_of_ten_thousand_jobs_stores_the_valid_ones_and_names_the_others(own_deployment: Deployment) -> None:
    jobs: list[list[str] | JobSpec] = [[] if number % 20 == 7 else ["true", str(number)] for number in range(10_000)]

    answers = own_deployment.queue.enqueue_many(jobs)

    refused = [number for number, answer in enumerate(answers) if isinstance(answer, InvalidJob)]
    assert refused == list(range(7, 10_000, 20))
    stored = ids_of(answers)
    assert own_deployment.entries() == len(set(stored)) == 9_500
    some = own_deployment.queue.get(stored[-1])
    spec = record_of(some).spec
    assert spec is not None
    assert spec.argv == (b"true", b"9999")
    own_deployment.queue.interrupt(stored)
    verdict = check_invariants(own_deployment, acknowledged=stored, interrupted=stored, has_worker=False)
    assert_invariants(verdict, unseen=["I4"])


@pytest.mark.thorough
@case("D13")
def test_jobs_of_three_priorities_never_exceed_the_slots(
    own_deployment: Deployment, watcher: ResultWatcher, tmp_path: Path, rng: random.Random
) -> None:
    own_deployment.start_worker(concurrency=2)

    jobs = [own_deployment.enqueue("sleep 0.02", priority=rng.choice(["high", "normal", "low"])).id for _ in range(150)]

    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, watcher=watcher, limit_s=40))
    running = peak = 0
    for each in own_deployment.witness.events():
        running += 1 if each.event == "start" else -1
        peak = max(peak, running)
    assert peak == 2
