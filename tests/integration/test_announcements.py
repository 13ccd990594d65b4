"""An interrupt reaches its worker in two ways, each sufficient: its announcement, and the next lease renewal."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from oneshot_queue import InterruptResult, JobState
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worker_process import CRIPPLED


def test_announcement_alone_ends_a_job_within_a_second(deployment: Deployment, marker: ProcessMarker) -> None:
    worker = deployment.start_worker(program=[*CRIPPLED, "without-renewals"])
    deployment.wait_for_subscriber()
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)

    began = time.monotonic()
    report = job.interrupt()
    took_s = time.monotonic() - began

    assert marker.alive() == []
    assert report.result is InterruptResult.INTERRUPTED
    assert took_s < limit_s(1)
    worker.stop()
    assert worker.wait_for("announced ") == "announced 1, renewals brought 0"
    # The interrupt went through the state machine: its observer writes this line.
    assert worker.wait_for(f"stop  {job.id}").endswith("· interrupted")


def test_renewal_alone_ends_a_job_within_its_period_and_a_second(deployment: Deployment, marker: ProcessMarker) -> None:
    deployment.tune(lease_s=6.0)
    worker = deployment.start_worker(program=[*CRIPPLED, "without-announcements"])
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)

    began = time.monotonic()
    report = job.interrupt()
    took_s = time.monotonic() - began

    assert marker.alive() == []
    assert report.result is InterruptResult.INTERRUPTED
    assert took_s < limit_s(6.0 / 6 + 1)
    worker.stop()
    summary = worker.wait_for("announced ")
    assert summary.startswith("announced 0, renewals brought ")
    assert int(summary.split()[-1]) >= 1
    assert worker.wait_for(f"stop  {job.id}").endswith("· interrupted")


@case("N3")
def test_interrupt_arrives_while_the_subscriber_is_cut_off_all_the_time(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    deployment.tune(lease_s=6.0)
    worker = deployment.start_worker()
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)
    cut, stop = threading.Event(), threading.Event()

    def cut_subscribers() -> None:
        while not stop.wait(0.02):
            # This cuts the subscriptions of clients too; clients also poll.
            if deployment.redis.client_kill_filter(_type="pubsub"):
                cut.set()

    with ThreadPoolExecutor(1) as threads:
        cutting = threads.submit(cut_subscribers)
        try:
            assert cut.wait(TIMEOUT_S), "the fault did not happen: no subscriber was cut off"
            report = job.interrupt()
        finally:
            stop.set()
        cutting.result(timeout=TIMEOUT_S)

    assert marker.alive() == []
    assert report.result is InterruptResult.INTERRUPTED
    record = record_of(job)
    assert record.interrupt_requested_ms is not None
    assert record.ended_ms is not None
    assert record.ended_ms - record.interrupt_requested_ms < 1000 * (6.0 / 6 + 1)
    # The worker subscribes again by itself.
    after = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", after.id)
    deployment.wait_for_subscriber()
    assert after.interrupt().result is InterruptResult.INTERRUPTED
    worker.stop()


@case("V8")
def test_malformed_messages_on_the_control_channel_are_counted_and_ignored(
    deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = deployment.start_worker()
    job = deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)
    deployment.wait_for_subscriber()
    hostile = [
        b"",
        b"\xff\xfe\0",
        b"x" * 1_000_000,
        b"no-attempt",
        b"id 1 2",
        b"id -1",
        b"id 99999999999",
        f"{job.id} 1\n".encode(),
        b"../../etc 1",
        b"*" * 65 + b" 1",
    ]

    for message in hostile:
        assert deployment.redis.publish(deployment.keys.control, message) == 1

    def counted() -> int:
        return int(deployment.redis.hget(deployment.keys.counters, "malformed") or 0)

    wait_until(counted, lambda seen: seen == len(hostile), what="all messages to be counted")
    assert record_of(job).state is JobState.RUNNING
    began = time.monotonic()
    assert job.interrupt().result is InterruptResult.INTERRUPTED
    assert time.monotonic() - began < limit_s(1)
    worker.stop()


def test_malformed_intents_are_ignored(deployment: Deployment, marker: ProcessMarker) -> None:
    deployment.tune(lease_s=1.2)
    worker = deployment.start_worker()
    job, other = deployment.enqueue(marker.sleep), deployment.enqueue(marker.sleep)
    deployment.witness.until("start", job.id)
    deployment.witness.until("start", other.id)
    (lease,) = deployment.leases()

    for field, value in ((job.id, b"\xff\0"), (b"\xff\xfe", b"1 0"), ("nobody", b"1 0"), ("x" * 300, b"1 -")):
        deployment.redis.hset(deployment.keys.intents(lease), field, value)
    worker.wait_for("cannot be read")

    assert record_of(job).state is JobState.RUNNING
    assert other.interrupt().result is InterruptResult.INTERRUPTED
    assert job.interrupt().result is InterruptResult.INTERRUPTED
    worker.stop()
    assert deployment.pending() == {}
