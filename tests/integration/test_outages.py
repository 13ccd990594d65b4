"""Redis is away, slow, emptied of scripts or full: no job fails or starts twice, and all results are recorded."""

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
from tests.support.waiting import TIMEOUT_S, wait_until


def counting(gate: Path) -> str:
    """A script that writes numbered lines and ends once the gate exists."""
    return f"i=0; while [ ! -e {gate} ]; do i=$((i+1)); echo $i; sleep 0.02; done; echo last >&2"


def lines_of(job: SyncJob) -> list[int]:
    return [int(line) for line in output_of(job)[0].split()]


@pytest.mark.thorough
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
    assert {job.wait(timeout=TIMEOUT_S).state for job in jobs} == {JobState.COMPLETED}
    assert own_deployment.witness.times("start") == {job.id: 1 for job in jobs}
    assert {tuple(history_of(job)) for job in jobs} == {("CREATED", "RUNNING", "COMPLETED")}
    for job in (through, within):
        lines = lines_of(job)
        assert lines == list(range(1, len(lines) + 1))
        assert output_of(job)[1] == b"last\n"
        assert record_of(job).output.dropped == 0
    worker.stop()
    assert own_deployment.entries() == 0


@pytest.mark.thorough
@case("R1")
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_jobs_run_on_while_their_server_restarts_on_its_data(
    real_deployment: Deployment, fresh_server: ServerProcess, tmp_path: Path, how: str
) -> None:
    gate, early = tmp_path / "gate", tmp_path / "early"
    worker = real_deployment.start_worker(concurrency=3)
    through, within = real_deployment.enqueue(counting(gate)), real_deployment.enqueue(counting(early))
    waiting = [real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done") for _ in range(4)]
    real_deployment.witness.until_count("start", 3)
    if how == "killed":
        # With everysec, the kill could lose writes; that is not the subject of this test.
        real_deployment.redis.config_set("appendfsync", "always")
        real_deployment.redis.set("fence", 1)

    fresh_server.stop() if how == "stopped" else fresh_server.kill()
    early.touch()
    real_deployment.witness.until("end", within.id)
    worker.wait_for("cannot ")
    fresh_server.start()
    gate.touch()

    jobs = [through, within, *waiting]
    assert {job.wait(timeout=TIMEOUT_S).state for job in jobs} == {JobState.COMPLETED}
    assert real_deployment.witness.times("start") == {job.id: 1 for job in jobs}
    assert {tuple(history_of(job)) for job in jobs} == {("CREATED", "RUNNING", "COMPLETED")}
    for job in (through, within):
        lines = lines_of(job)
        assert lines == list(range(1, len(lines) + 1))
        assert record_of(job).output.dropped == 0
    worker.stop()
    assert real_deployment.entries() == 0


@pytest.mark.thorough
def test_history_contains_silence_and_output_during_an_outage(
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

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert history_of(job) == ["CREATED", "RUNNING", "IDLE", "RUNNING", "IDLE", "RUNNING", "COMPLETED"]
    record = record_of(job)
    at_ms = [row.at_ms for row in record.history]
    assert at_ms == sorted(at_ms)
    # The times are those of the events, not those of their recording.
    assert 800 < at_ms[-1] - at_ms[-4] < 10_000


def test_interrupt_that_was_recorded_before_an_outage_is_carried_out(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker
) -> None:
    real_deployment.tune(lease_s=6.0)
    worker = real_deployment.start_worker()
    job = real_deployment.enqueue(marker.sleep)
    real_deployment.witness.until("start", job.id)

    # Freeze the worker until the server is gone, so that it receives no announcement.
    worker.pause()
    try:
        real_deployment.queue.interrupt([job.id], confirm=False)
        fresh_server.stop()
    finally:
        worker.resume()
    worker.wait_for("cannot ")
    assert marker.alive(), "the fault did not happen: the interrupt arrived before the outage"
    fresh_server.start()

    assert job.wait(timeout=TIMEOUT_S).state is JobState.INTERRUPTED
    assert marker.alive() == []


@case("R5")
def test_flushed_scripts_are_sent_again(deployment: Deployment) -> None:
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
            states = {job.wait(timeout=TIMEOUT_S).state for job in jobs}
        finally:
            stop.set()
        flushing.result(timeout=TIMEOUT_S)

    assert len(flushed) >= 10, "the fault did not happen"
    assert states == {JobState.COMPLETED}
    assert deployment.witness.times("start") == {job.id: 1 for job in jobs}
    worker.stop()


@pytest.mark.thorough
@case("R13")
def test_two_hundred_jobs_run_once_each_while_all_connections_are_killed_repeatedly(
    own_deployment: Deployment,
) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    ended_at_kills: list[int] = []

    with redis.Redis.from_url(own_deployment.url, retry=None, protocol=2) as killer:

        def kill_connections() -> bool:
            killed = int(killer.client_kill_filter(_type="normal", skipme=True))
            return killed > 0

        # Long enough that they are not over before the kills.
        command = own_deployment.witness.command("sleep 0.05; echo $ONESHOT_JOB_ID")
        jobs = own_deployment.queue.enqueue_many([command] * 200)
        ids = [job.id for job in jobs if isinstance(job, SyncJob)]
        for ended in range(0, 200, 20):
            own_deployment.witness.until_count("end", ended)
            wait_until(kill_connections, what="a connection to kill")
            ended_at_kills.append(len(own_deployment.witness.of("end")))
        own_deployment.witness.until_count("end", 200)

    assert len([ended for ended in ended_at_kills if ended < 200]) >= 5, "the fault did not happen often enough"
    wait_until(own_deployment.entries, lambda left: left == 0, what="all results to be recorded")
    assert own_deployment.witness.times("start") == dict.fromkeys(ids, 1)
    handles = [own_deployment.queue.get(each) for each in ids]
    assert {tuple(history_of(job)) for job in handles} == {("CREATED", "RUNNING", "COMPLETED")}
    assert all(output_of(job)[0] == f"{job.id}\n".encode() for job in handles)
    worker.stop()
    assert own_deployment.pending() == {}


def test_worker_whose_password_is_refused_for_a_while_ends_no_job(real_deployment: Deployment, tmp_path: Path) -> None:
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

    assert {job.wait(timeout=TIMEOUT_S).state for job in (through, within)} == {JobState.COMPLETED}
    assert real_deployment.witness.times("start") == {through.id: 1, within.id: 1}
    after = real_deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    worker.stop()


@pytest.mark.thorough
def test_password_that_stays_refused_ends_the_workers_after_their_jobs(
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
        # The idle worker has ended; the other one ends after its job.
        worker.wait_for("worker: the broker at")
        worker.wait_for("stopping: waiting for 1 job to end")
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began, lambda passed_s: passed_s > 1.5, what="the drain timeout to pass")
        assert not any("interrupting" in line for line in worker.lines)
        admin.config_set("requirepass", "")
    gate.touch()

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert worker.wait() == 5
    assert real_deployment.witness.times("start") == {job.id: 1}


@case("R6")
def test_running_jobs_finish_and_free_memory_while_the_server_is_full(
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
    ended = [job.wait(timeout=TIMEOUT_S).state for job in (quiet, loud)]
    report = idle.interrupt()

    assert ended == [JobState.COMPLETED, JobState.COMPLETED]
    assert report.state is JobState.INTERRUPTED
    assert marker.alive() == []
    assert output_of(quiet) == (b"small\n", b"")
    # Output is dropped first, and dropped bytes are counted.
    written = len(b"".join(b"%d\n" % number for number in range(1, 100_001)))
    kept = sum(map(len, output_of(loud)))
    record = record_of(loud)
    assert (record.output.bytes, record.output.dropped) == (written, written - kept)
    assert record.output.dropped > 0
    # The lease is still renewed.
    time_before = real_deployment.redis.zscore(real_deployment.keys.workers, *real_deployment.leases())
    wait_until(
        lambda: real_deployment.redis.zscore(real_deployment.keys.workers, *real_deployment.leases()),
        lambda seen: seen != time_before,
        what="the lease to be renewed",
    )
    real_deployment.redis.config_set("maxmemory", 0)
    after = real_deployment.enqueue()
    assert after.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    worker.stop()
    assert real_deployment.leases() == set()


def test_worker_waits_quietly_for_its_server_and_logs_its_return(
    own_deployment: Deployment, fresh_server: ServerProcess
) -> None:
    worker = own_deployment.start_worker()

    fresh_server.stop()
    worker.wait_for("running jobs go on")
    worker.wait_until_idle()
    logged = [line for line in worker.lines if "cannot" in line]
    fresh_server.start()
    worker.wait_for("the broker answers again")

    assert len(logged) < 5, f"it logs this again and again: {worker.lines}"
    worker.signal()
    assert worker.wait() == 0


def test_worker_without_a_server_says_so_and_exits_with_5(deployment: Deployment, tmp_path: Path) -> None:
    began = time.monotonic()
    worker = deployment.start_worker(url=f"unix://{tmp_path}/nobody", until_ready=False)

    assert worker.wait() == 5
    assert time.monotonic() - began < 10
    assert "cannot reach the broker" in worker.lines[0]
