"""An interrupt ends its job in any state, and once it is confirmed no process of the job is left."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from oneshot_queue import Cause, InterruptResult, Job, JobNotFound, JobState, Queue
from tests.integration.scripts import ignores_sigterm
from tests.support.cases import case
from tests.support.deployment import Deployment, history_of, record_of, until_state
from tests.support.leftovers import is_alive
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until


@case("N1")
def test_waiting_job_is_interrupted_without_a_worker_and_never_starts(deployment: Deployment) -> None:
    job = deployment.enqueue()

    report = job.interrupt(reason="wrong branch")

    assert (report.result, report.state) == (InterruptResult.INTERRUPTED, JobState.INTERRUPTED)
    record = record_of(job)
    assert (record.state, record.cause, record.reason) == (JobState.INTERRUPTED, Cause.INTERRUPTED, "wrong branch")
    assert deployment.entries() == 0
    after = deployment.enqueue()
    deployment.start_worker(arguments=["--burst"]).wait()
    assert deployment.witness.times("start") == {after.id: 1}
    assert history_of(job) == ["CREATED", "INTERRUPTED"]


@case("N2", "P1")
def test_whole_tree_of_a_running_job_is_gone_when_the_interrupt_returns(
    served: Deployment, marker: ProcessMarker
) -> None:
    job = served.enqueue(f"{marker.sleep} & setsid {marker.sleep} & {marker.sleep}", grace=5)
    wait_until(marker.alive, lambda seen: len(seen) == 3, what="three processes of the job")

    report = job.interrupt()

    assert marker.alive() == []
    assert (report.result, report.state) == (InterruptResult.INTERRUPTED, JobState.INTERRUPTED)
    outcome = job.wait(timeout=TIMEOUT_S)
    assert (outcome.state, outcome.cause, outcome.signal) == (
        JobState.INTERRUPTED,
        Cause.INTERRUPTED,
        signal.SIGTERM,
    )
    assert history_of(job) == ["CREATED", "RUNNING", "INTERRUPTED"]
    assert served.witness.of("end", job.id) == []


def test_idle_job_is_interrupted_like_a_running_one(served: Deployment, marker: ProcessMarker) -> None:
    job = served.enqueue(marker.sleep, idle_after=0.1)
    until_state(job, JobState.IDLE)

    report = job.interrupt()

    assert marker.alive() == []
    assert report.state is JobState.INTERRUPTED
    assert history_of(job) == ["CREATED", "RUNNING", "IDLE", "INTERRUPTED"]


@case("N5")
def test_command_that_ignores_sigterm_is_killed_after_its_grace(served: Deployment, marker: ProcessMarker) -> None:
    job = served.enqueue(ignores_sigterm(served, marker), grace=2)
    assert next(job.output(follow=True)).data == b"ready\n"

    report = job.interrupt()

    assert marker.alive() == []
    assert report.state is JobState.INTERRUPTED
    assert served.witness.of("asked", job.id), "the fault did not happen: the command never ignored a SIGTERM"
    assert record_of(job).signal == signal.SIGKILL
    requested_ms, ended_ms = record_of(job).interrupt_requested_ms, record_of(job).ended_ms
    assert requested_ms is not None
    assert ended_ms is not None
    assert ended_ms - requested_ms >= 2000


def test_grace_of_zero_kills_at_once(served: Deployment, marker: ProcessMarker) -> None:
    job = served.enqueue(ignores_sigterm(served, marker), grace=300)
    assert next(job.output(follow=True)).data == b"ready\n"

    report = job.interrupt(grace=0)

    assert marker.alive() == []
    assert report.state is JobState.INTERRUPTED
    assert record_of(job).signal == signal.SIGKILL
    assert served.witness.of("asked", job.id) == []


def test_second_interrupt_can_shorten_the_grace(served: Deployment, marker: ProcessMarker) -> None:
    job = served.enqueue(ignores_sigterm(served, marker), grace=300)
    assert next(job.output(follow=True)).data == b"ready\n"
    first = served.queue.interrupt([job.id], confirm=False)[0]
    served.witness.until("asked", job.id)
    assert (first.result, record_of(job).state) == (InterruptResult.RECORDED, JobState.RUNNING)
    assert record_of(job).interrupting

    second = job.interrupt(grace=0)

    assert marker.alive() == []
    assert second.result is InterruptResult.INTERRUPTED
    assert history_of(job) == ["CREATED", "RUNNING", "INTERRUPTED"]


@case("N6")
def test_stopped_command_ends_within_its_grace(served: Deployment, marker: ProcessMarker) -> None:
    job = served.enqueue(f"kill -STOP $$; {marker.sleep}", grace=300)
    pid = served.witness.until("start", job.id).pid
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0], lambda seen: seen == "T")

    report = job.interrupt()

    assert report.state is JobState.INTERRUPTED
    assert not is_alive(pid)


@case("N9")
def test_interrupts_from_twenty_clients_at_once_all_succeed_with_one_result(
    served: Deployment, marker: ProcessMarker
) -> None:
    job = served.enqueue(marker.sleep)
    served.witness.until("start", job.id)
    together = threading.Barrier(20)

    def interrupt(_: int) -> InterruptResult:
        with served.new_client() as client:
            handle = client.get(job.id)
            together.wait(timeout=TIMEOUT_S)
            return handle.interrupt().result

    with ThreadPoolExecutor(20) as threads:
        results = list(threads.map(interrupt, range(20)))

    # A client that came after the end learns that.
    assert set(results) <= {InterruptResult.INTERRUPTED, InterruptResult.ALREADY_FINAL}
    assert InterruptResult.INTERRUPTED in results
    assert history_of(job) == ["CREATED", "RUNNING", "INTERRUPTED"]
    assert job.interrupt().result is InterruptResult.ALREADY_FINAL


@case("N9", "N10")
def test_interrupt_does_not_change_a_finished_job(served: Deployment) -> None:
    job = served.enqueue()
    job.wait(timeout=TIMEOUT_S)
    before = record_of(job)

    report = job.interrupt(reason="too late")

    assert (report.result, report.state) == (InterruptResult.ALREADY_FINAL, JobState.COMPLETED)
    assert record_of(job) == before


@case("N10")
def test_interrupt_of_an_unknown_job_does_not_affect_a_later_job_with_that_id(served: Deployment) -> None:
    (report,) = served.queue.interrupt(["not-yet-there"])
    with pytest.raises(JobNotFound):
        served.queue.get("not-yet-there")

    job = served.enqueue(id="not-yet-there")

    assert report.result is InterruptResult.NOT_FOUND
    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED


def test_intent_for_another_attempt_is_ignored(served: Deployment, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    job = served.enqueue(f"read line < {go_on}")
    served.witness.until("start", job.id)
    lease = served.redis.hget(served.keys.job(job.id), "lease")
    assert lease is not None

    served.redis.hset(served.keys.intents(lease.decode()), job.id, "2 0")
    # The second message makes the worker read the intent; both arrive before the interrupt of the other job.
    receivers = [served.redis.publish(served.keys.control, f"{job.id} {attempt}") for attempt in (2, 1)]
    other = served.enqueue("sleep 300")
    served.witness.until("start", other.id)
    other.interrupt()

    assert receivers == [1, 1], "the fault did not happen: no worker was subscribed"
    assert record_of(job).state is JobState.RUNNING
    go_on.write_text("\n")
    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert len(served.witness.of("end", job.id)) == 1


@case("N7")
def test_job_interrupted_between_claim_and_start_has_one_true_result(deployment: Deployment) -> None:
    jobs = [deployment.enqueue() for _ in range(20)]
    stop = threading.Event()

    def interrupt_claimed_jobs() -> int:
        """Interrupt each job as soon as it is announced to be RUNNING."""
        done = 0
        with deployment.new_client() as client, deployment.redis.pubsub() as subscriber:
            subscriber.subscribe(*(deployment.keys.events(job.id) for job in jobs))
            listening.set()
            while done < len(jobs) and not stop.is_set():
                message = subscriber.get_message(timeout=0.1)
                if message is not None and message["type"] == "message" and message["data"] == b"RUNNING":
                    job_id = message["channel"].decode().rpartition(":")[2]
                    client.interrupt([job_id], confirm=False)
                    done += 1
        return done

    listening = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        interrupter = threads.submit(interrupt_claimed_jobs)
        try:
            assert listening.wait(TIMEOUT_S)
            deployment.start_worker(concurrency=20, arguments=["--burst"]).wait()
        finally:
            stop.set()
        interrupted = interrupter.result(timeout=TIMEOUT_S)

    assert interrupted == len(jobs), "the fault did not happen to every job"
    for job in jobs:
        record = record_of(job)
        started, ended = (deployment.witness.times(each)[job.id] for each in ("start", "end"))
        assert started <= 1
        # The record agrees with whatever came first, the interrupt or the exit.
        assert record.state in (JobState.INTERRUPTED, JobState.COMPLETED)
        assert not (record.state is JobState.COMPLETED and ended == 0)
        assert [row.state.is_final for row in record.history].count(True) == 1


@case("N8")
async def test_interrupt_that_races_the_exit_leaves_one_result_and_reports_the_stored_one(
    served: Deployment,
) -> None:
    runs, lanes = 200, 4
    results: Counter[InterruptResult] = Counter()
    finals: Counter[int] = Counter()

    async def race(queue: Queue, delay_s: float) -> Job:
        job = await queue.enqueue(["true"])
        await anyio.sleep(delay_s)  # no wait for an event: it aims at the exit
        report = await job.interrupt()
        record = (await job.refresh()).record
        assert record is not None
        results[report.result] += 1
        finals[sum(row.state.is_final for row in record.history)] += 1
        assert record.state is report.state
        was_interrupted = record.state is JobState.INTERRUPTED
        assert was_interrupted == (report.result is InterruptResult.INTERRUPTED)
        return job

    async def lane(queue: Queue) -> None:
        delay_s = 0.01
        for _ in range(runs // lanes):
            job = await race(queue, delay_s)
            # Later after an interrupt that came too early, earlier after one too late: this converges on the exit.
            delay_s *= 1.3 if job.state is JobState.INTERRUPTED else 1 / 1.3

    async with served.new_async_client() as queue, anyio.create_task_group() as group:
        for _ in range(lanes):
            group.start_soon(lane, queue)

    assert finals == {1: runs}
    too_late = results[InterruptResult.ALREADY_FINAL] + results[InterruptResult.ENDED_BY_ITSELF]
    assert results[InterruptResult.INTERRUPTED], "the fault did not happen: no interrupt came in time"
    assert too_late, "the fault did not happen: no interrupt came too late"
