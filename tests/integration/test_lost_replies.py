"""A request may be executed although its reply is lost: nothing happens twice, and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from oneshot_queue import InterruptResult, JobState, SyncJob
from tests.support.cases import case
from tests.support.deployment import Deployment, history_of, record_of
from tests.support.limits import limit_s
from tests.support.servers import ServerProcess
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.wire import Wire
from tests.support.worker_process import CRIPPLED


@pytest.fixture
def wire(deployment: Deployment, server: ServerProcess) -> Iterator[Wire]:
    """A wire between the worker and the server; it ends after the worker."""
    with Wire(server.socket_path, server.folder / deployment.keys.namespace[-8:]) as running:
        yield running
        deployment.close()


def test_jobs_whose_claim_got_no_reply_start_once(deployment: Deployment, wire: Wire) -> None:
    worker = deployment.start_worker(url=wire.url, concurrency=4)
    lost = wire.lose_reply(b"unmistakable")

    jobs = [deployment.enqueue("echo unmistakable") for _ in range(4)]

    assert {job.wait(timeout=TIMEOUT_S).state for job in jobs} == {JobState.COMPLETED}
    lost.assert_happened()
    assert deployment.witness.times("start") == {job.id: 1 for job in jobs}
    assert {tuple(history_of(job)) for job in jobs} == {("CREATED", "RUNNING", "COMPLETED")}
    worker.stop()


def test_job_starts_though_two_claims_in_a_row_got_no_reply(deployment: Deployment, wire: Wire) -> None:
    deployment.start_worker(url=wire.url, concurrency=1)
    claim, reclaim = wire.lose_reply(b"unmistakable"), wire.lose_reply(b"unmistakable")

    job = deployment.enqueue("echo unmistakable")

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    claim.assert_happened()
    reclaim.assert_happened()
    assert deployment.witness.times("start") == {job.id: 1}


def test_job_whose_claim_got_no_reply_is_found_behind_a_hundred_running_jobs(
    deployment: Deployment, wire: Wire
) -> None:
    deployment.start_worker(url=wire.url, concurrency=103)
    sleepers = deployment.queue.enqueue_many([["sleep", "300"]] * 102)
    wait_until(lambda: sum(deployment.pending().values()), lambda held: held == 102, what="a hundred jobs to be held")
    lost = wire.lose_reply(b"unmistakable")

    job = deployment.enqueue("echo unmistakable")

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    lost.assert_happened()
    assert deployment.witness.times("start")[job.id] == 1
    reports = deployment.queue.interrupt([each.id for each in sleepers if isinstance(each, SyncJob)], grace=0)
    assert {each.result for each in reports} == {InterruptResult.INTERRUPTED}


@case("N7")
def test_job_whose_interrupt_is_announced_before_its_claim_is_answered_never_starts(
    deployment: Deployment, wire: Wire
) -> None:
    subscription = wire.watch(deployment.keys.control.encode())
    deployment.start_worker(url=wire.url, concurrency=1)
    subscription.assert_happened()
    claim = wire.hold_reply(b"unmistakable")
    job = deployment.enqueue("echo unmistakable")
    claim.assert_happened()

    deployment.queue.interrupt([job.id], confirm=False)
    # Messages arrive in order: once this one is counted, the worker has received the announcement.
    deployment.redis.publish(deployment.keys.control, "no interrupt")
    wait_until(lambda: deployment.redis.hget(deployment.keys.counters, "malformed"), what="the worker to receive it")
    assert record_of(job).state is JobState.RUNNING
    claim.release()

    assert job.wait(timeout=TIMEOUT_S).state is JobState.INTERRUPTED
    assert deployment.witness.events() == []
    assert history_of(job) == ["CREATED", "RUNNING", "INTERRUPTED"]
    after = deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED


@case("N7")
def test_job_whose_interrupt_a_renewal_brings_before_its_claim_is_answered_never_starts(
    deployment: Deployment, wire: Wire
) -> None:
    deployment.tune(lease_s=1.2)
    worker = deployment.start_worker(url=wire.url, concurrency=1, program=[*CRIPPLED, "without-announcements"])
    claim = wire.hold_reply(b"unmistakable")
    job = deployment.enqueue("echo unmistakable")
    claim.assert_happened()
    brought = wire.watch(job.id.encode())

    deployment.queue.interrupt([job.id], confirm=False)
    brought.assert_happened()
    # The worker sends the next renewal after it has processed this one.
    wire.watch(b"renewed").assert_happened()
    claim.release()

    assert job.wait(timeout=TIMEOUT_S).state is JobState.INTERRUPTED
    assert deployment.witness.events() == []
    worker.stop()
    assert worker.wait_for("announced ").startswith("announced 0, ")


def test_result_whose_reply_was_lost_is_recorded_once(deployment: Deployment, wire: Wire) -> None:
    deployment.start_worker(url=wire.url, concurrency=1)
    lost = wire.lose_reply(b"finished")

    job = deployment.enqueue("echo done")
    after = deployment.enqueue("echo done")

    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    lost.assert_happened()
    assert history_of(job) == ["CREATED", "RUNNING", "COMPLETED"]
    assert deployment.witness.times("end") == {job.id: 1, after.id: 1}


def test_output_whose_reply_was_lost_is_stored_once(deployment: Deployment, wire: Wire) -> None:
    deployment.start_worker(url=wire.url, concurrency=1)
    lost = [wire.lose_reply(b"appended") for _ in range(3)]

    job = deployment.queue.enqueue(["seq", "200000"])

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    for each in lost:
        each.assert_happened()
    numbers = b"".join(chunk.data for chunk in job.output())
    assert numbers == b"".join(b"%d\n" % number for number in range(1, 200_001))


@case("R11")
def test_hundred_jobs_run_once_each_while_every_tenth_reply_is_lost(deployment: Deployment, wire: Wire) -> None:
    worker = deployment.start_worker(url=wire.url, concurrency=4)
    wire.lose_every(10)

    jobs = [deployment.enqueue("echo $ONESHOT_JOB_ID") for _ in range(100)]

    deployment.witness.until_count("end", 100)
    wait_until(deployment.entries, lambda left: left == 0, what="all jobs to end")
    wire.lose_every(None)
    assert wire.cut >= 5, "the fault did not happen often enough"
    assert deployment.witness.times("start") == {job.id: 1 for job in jobs}
    assert {tuple(history_of(job)) for job in jobs} == {("CREATED", "RUNNING", "COMPLETED")}
    worker.stop()
    assert deployment.pending() == {}


def test_worker_asked_to_kill_does_not_wait_for_the_reply_to_a_claim(deployment: Deployment, wire: Wire) -> None:
    worker = deployment.start_worker(url=wire.url, concurrency=1)
    claim = wire.hold_reply(b"unmistakable")
    deployment.enqueue("echo unmistakable")
    claim.assert_happened()

    # Three different signals: the kernel merges pending signals of one kind.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        worker.signal(number)
    began = time.monotonic()

    assert worker.wait() == 0
    assert time.monotonic() - began < limit_s(2)
    assert deployment.witness.events() == []
    claim.release()
