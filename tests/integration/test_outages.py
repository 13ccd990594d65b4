"""Redis is away, slow, forgetful or full: no job dies of it, none starts twice, and what happened is written down."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from oneshot_queue import JobState, QueueFull, SyncJob
from tests.support.cases import case
from tests.support.deployment import Deployment, history_of, output_of, record_of, until_state
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until


def counting(gate: Path) -> str:
    """A script that writes a numbered line now and then, and ends when the gate is there."""
    return f"i=0; while [ ! -e {gate} ]; do i=$((i+1)); echo $i; sleep 0.02; done; echo last >&2"


def lines_of(job: SyncJob) -> list[int]:
    return [int(line) for line in output_of(job)[0].split()]


@case("R3")
def test_jobs_run_on_while_their_server_is_frozen(
    own_deployment: Deployment, fresh_server: ServerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = own_deployment.start_worker(concurrency=3)
    through, within = own_deployment.enqueue(counting(gate)), own_deployment.enqueue(counting(tmp_path / "early"))
    waiting = [own_deployment.enqueue() for _ in range(3)]
    own_deployment.witness.until("start", within.id)
    own_deployment.witness.until("start", through.id)

    fresh_server.pause()
    try:
        (tmp_path / "early").touch()
        own_deployment.witness.until("end", within.id)
        worker.wait_for("cannot ")
    finally:
        fresh_server.resume()
    gate.touch()

    jobs = [through, within, *waiting]
    assert {job.wait(timeout=20).state for job in jobs} == {JobState.COMPLETED}
    assert own_deployment.witness.times("start") == {job.id: 1 for job in jobs}
    assert {tuple(history_of(job)) for job in jobs} == {("CREATED", "RUNNING", "COMPLETED")}
    for job in (through, within):
        lines = lines_of(job)
        assert lines == list(range(1, len(lines) + 1))
        assert output_of(job)[1] == b"last\n"
        assert record_of(job).output.dropped == 0
    worker.stop()
    assert own_deployment.entries() == 0


@case("R1")
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_jobs_run_on_while_their_server_is_started_anew_on_its_data(
    real_deployment: Deployment, fresh_server: ServerProcess, tmp_path: Path, how: str
) -> None:
    gate, early = tmp_path / "gate", tmp_path / "early"
    worker = real_deployment.start_worker(concurrency=3)
    through, within = real_deployment.enqueue(counting(gate)), real_deployment.enqueue(counting(early))
    waiting = [real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done") for _ in range(4)]
    real_deployment.witness.until_count("start", 3)
    if how == "killed":
        # everysec: what a power cut may take is not what this test is about.
        real_deployment.redis.config_set("appendfsync", "always")
        real_deployment.redis.set("fence", 1)

    fresh_server.stop() if how == "stopped" else fresh_server.kill()
    early.touch()
    real_deployment.witness.until("end", within.id)
    worker.wait_for("cannot ")
    fresh_server.start()
    gate.touch()

    jobs = [through, within, *waiting]
    assert {job.wait(timeout=20).state for job in jobs} == {JobState.COMPLETED}
    assert real_deployment.witness.times("start") == {job.id: 1 for job in jobs}
    assert {tuple(history_of(job)) for job in jobs} == {("CREATED", "RUNNING", "COMPLETED")}
    for job in (through, within):
        lines = lines_of(job)
        assert lines == list(range(1, len(lines) + 1))
        assert record_of(job).output.dropped == 0
    worker.stop()
    assert real_deployment.entries() == 0


def test_a_job_that_falls_silent_and_talks_again_while_its_server_is_away_has_that_in_its_history(
    real_deployment: Deployment, fresh_server: ServerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = real_deployment.start_worker()
    job = real_deployment.enqueue(
        f"while [ ! -e {gate} ]; do echo on; sleep 0.02; done; sleep 1; echo again; sleep 1; echo end", idle_after=0.4
    )
    until_state(job, JobState.RUNNING)

    fresh_server.stop()
    gate.touch()
    real_deployment.witness.until("end", job.id)
    worker.wait_for(f"end   {job.id}")
    fresh_server.start()

    assert job.wait(timeout=20).state is JobState.COMPLETED
    assert history_of(job) == ["CREATED", "RUNNING", "IDLE", "RUNNING", "IDLE", "RUNNING", "COMPLETED"]
    record = record_of(job)
    at_ms = [row.at_ms for row in record.history]
    assert at_ms == sorted(at_ms)
    # They are when they happened, not when they could be told.
    assert 800 < at_ms[-1] - at_ms[-4] < 10_000


def test_an_interrupt_that_was_recorded_before_its_server_went_away_is_carried_out(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker
) -> None:
    real_deployment.tune(lease_s=6.0)
    worker = real_deployment.start_worker()
    job = real_deployment.enqueue(marker.sleep)
    real_deployment.witness.until("start", job.id)

    # The server goes away with the worker cut off, so that it hears neither the announcement nor anything else.
    worker.pause()
    try:
        real_deployment.queue.interrupt([job.id], confirm=False)
        fresh_server.stop()
    finally:
        worker.resume()
    worker.wait_for("cannot ")
    assert marker.alive(), "it cannot have heard"
    fresh_server.start()

    assert job.wait(timeout=20).state is JobState.INTERRUPTED
    assert marker.alive() == []


@case("R5")
def test_forgotten_scripts_are_sent_again(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=2)
    stop = threading.Event()
    flushed = []

    def flush() -> None:
        while not stop.wait(0.005):
            deployment.redis.script_flush()
            flushed.append(True)

    with ThreadPoolExecutor(1) as threads:
        flushing = threads.submit(flush)
        try:
            jobs = [deployment.enqueue("echo hello") for _ in range(30)]
            states = {job.wait(timeout=20).state for job in jobs}
        finally:
            stop.set()
        flushing.result(timeout=20)

    assert len(flushed) >= 10, "the fault did not happen"
    assert states == {JobState.COMPLETED}
    assert deployment.witness.times("start") == {job.id: 1 for job in jobs}
    worker.stop()


@case("R13")
def test_two_hundred_jobs_run_once_each_while_all_connections_are_killed_again_and_again(
    own_deployment: Deployment,
) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    ended_at_kills: list[int] = []

    with redis.Redis.from_url(own_deployment.url, retry=None, protocol=2) as killer:

        def kill_connections() -> bool:
            killed = int(killer.client_kill_filter(_type="normal", skipme=True))
            return killed > 0

        # So long that they are not over before the kills.
        command = own_deployment.witness.command("sleep 0.05; echo $ONESHOT_JOB_ID")
        jobs = own_deployment.queue.enqueue_many([command] * 200)
        ids = [job.id for job in jobs if isinstance(job, SyncJob)]
        for ended in range(0, 200, 20):
            own_deployment.witness.until_count("end", ended)
            wait_until(kill_connections, what="a connection to kill")
            ended_at_kills.append(len(own_deployment.witness.of("end")))
        own_deployment.witness.until_count("end", 200)

    assert len([ended for ended in ended_at_kills if ended < 200]) >= 5, "the fault did not happen often enough"
    wait_until(own_deployment.entries, lambda left: left == 0, what="all ends to be recorded")
    assert own_deployment.witness.times("start") == dict.fromkeys(ids, 1)
    handles = [own_deployment.queue.get(each) for each in ids]
    assert {tuple(history_of(job)) for job in handles} == {("CREATED", "RUNNING", "COMPLETED")}
    assert all(output_of(job)[0] == f"{job.id}\n".encode() for job in handles)
    worker.stop()
    assert own_deployment.pending() == {}


def test_a_worker_whose_password_is_refused_for_a_while_ends_no_job(
    real_deployment: Deployment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = real_deployment.start_worker(concurrency=2)
    through, within = real_deployment.enqueue(counting(gate)), real_deployment.enqueue(counting(tmp_path / "early"))
    real_deployment.witness.until_count("start", 2)

    real_deployment.redis.config_set("requirepass", "changed")
    with redis.Redis.from_url(real_deployment.url, password="changed", retry=None, protocol=2) as admin:
        admin.client_kill_filter(skipme=True)
        (tmp_path / "early").touch()
        worker.wait_for(f"end   {within.id}")
        worker.wait_for("refused")
        admin.config_set("requirepass", "")
    gate.touch()

    assert {job.wait(timeout=20).state for job in (through, within)} == {JobState.COMPLETED}
    assert real_deployment.witness.times("start") == {through.id: 1, within.id: 1}
    after = real_deployment.enqueue()
    assert after.wait(timeout=20).state is JobState.COMPLETED
    worker.stop()


def test_a_password_that_stays_refused_ends_the_workers_but_no_job_before_its_time(
    real_deployment: Deployment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    real_deployment.tune(lease_s=1.8)
    arguments = ["--processes", "2", "--drain-timeout", "0.5s"]
    worker = real_deployment.start_worker(concurrency=2, arguments=arguments)
    job = real_deployment.enqueue(counting(gate))
    real_deployment.witness.until("start", job.id)

    real_deployment.redis.config_set("requirepass", "changed")
    with redis.Redis.from_url(real_deployment.url, password="changed", retry=None, protocol=2) as admin:
        admin.client_kill_filter(skipme=True)
        # The idle one has ended, and so shall the other when its job has.
        worker.wait_for("worker: the broker at")
        worker.wait_for("stopping: waiting for 1 job to end")
        told_s = time.monotonic()
        wait_until(lambda: time.monotonic() - told_s, lambda passed_s: passed_s > 1.5, what="the drain timeout to pass")
        assert not any("interrupting" in line for line in worker.lines)
        admin.config_set("requirepass", "")
    gate.touch()

    assert job.wait(timeout=20).state is JobState.COMPLETED
    assert worker.wait() == 5
    assert real_deployment.witness.times("start") == {job.id: 1}


@case("R6")
def test_running_jobs_end_and_free_memory_although_the_server_is_full(
    real_deployment: Deployment, tmp_path: Path, marker: ProcessMarker
) -> None:
    gate = tmp_path / "gate"
    real_deployment.tune(lease_s=1.8)
    worker = real_deployment.start_worker(concurrency=4)
    quiet = real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo small")
    loud = real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; seq 100000")
    idle = real_deployment.enqueue(marker.sleep, idle_after=0.2)
    real_deployment.witness.until_count("start", 3)
    used = int(real_deployment.redis.info("memory")["used_memory"])

    real_deployment.redis.config_set("maxmemory", used // 2)
    with pytest.raises(QueueFull):
        real_deployment.enqueue()
    until_state(idle, JobState.IDLE)
    gate.touch()
    ended = [job.wait(timeout=20).state for job in (quiet, loud)]
    report = idle.interrupt()

    assert ended == [JobState.COMPLETED, JobState.COMPLETED]
    assert report.state is JobState.INTERRUPTED
    assert marker.alive() == []
    assert output_of(quiet) == (b"small\n", b"")
    # Output is the first thing to give way, and what is not there is counted.
    written = len(b"".join(b"%d\n" % number for number in range(1, 100_001)))
    kept = sum(map(len, output_of(loud)))
    record = record_of(loud)
    assert (record.output.bytes, record.output.dropped) == (written, written - kept)
    assert record.output.dropped > 0
    # The lease was renewed all the time.
    time_before = real_deployment.redis.zscore(real_deployment.keys.workers, *real_deployment.leases())
    wait_until(
        lambda: real_deployment.redis.zscore(real_deployment.keys.workers, *real_deployment.leases()),
        lambda seen: seen != time_before,
        what="the lease to be renewed",
    )
    real_deployment.redis.config_set("maxmemory", 0)
    after = real_deployment.enqueue()
    assert after.wait(timeout=20).state is JobState.COMPLETED
    worker.stop()
    assert real_deployment.leases() == set()


def test_a_worker_waits_quietly_for_a_server_and_says_when_it_is_back(
    own_deployment: Deployment, fresh_server: ServerProcess
) -> None:
    worker = own_deployment.start_worker()

    fresh_server.stop()
    worker.wait_for("running jobs go on")
    worker.until_asleep()
    said = [line for line in worker.lines if "cannot" in line]
    fresh_server.start()
    worker.wait_for("the broker answers again")

    assert len(said) < 5, f"it says so again and again: {worker.lines}"
    worker.signal()
    assert worker.wait() == 0


def test_a_worker_whose_server_is_not_there_says_so_and_ends_with_5(deployment: Deployment, tmp_path: Path) -> None:
    began = time.monotonic()
    worker = deployment.start_worker(url=f"unix://{tmp_path}/nobody", until_ready=False)

    assert worker.wait() == 5
    assert time.monotonic() - began < 10
    assert "cannot reach the broker" in worker.lines[0]
