"""The server is slow, gone, full, read-only or busy, and no client gets a wrong reply (R)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import redis

from oneshot_queue import BrokerError, JobState, QueueFull, SyncQueue
from oneshot_queue.store.scripts import script
from tests.faults.collecting import check_invariants
from tests.faults.error_rates import Errors
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, output_of, record_of
from tests.support.faults import empty, forget_scripts, frozen, full, kill_connections, pause_clients
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import LIMIT_S, TIMEOUT_S, wait_until
from tests.support.wire import Wire
from tests.support.wire_faults import WireFault, fragmented, half_open, latency, lost_replies, resets


def enqueue_until_accepted(deployment: Deployment, job_id: str, *, limit_s: float = LIMIT_S) -> str:
    """Repeat an enqueue with this id until it is acknowledged, as a producer would."""

    def ask() -> str:
        try:
            return deployment.queue.enqueue(deployment.witness.command("echo token=$ONESHOT_TOKEN"), id=job_id).id
        except BrokerError:
            return ""

    return wait_until(ask, what="the server to answer", limit_s=limit_s)


@pytest.mark.thorough
@case("R3")
@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    "pause_s", [3, pytest.param(20, marks=pytest.mark.thorough), pytest.param(60, marks=pytest.mark.thorough)]
)
def test_jobs_and_producers_survive_a_frozen_server(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, pause_s: int
) -> None:
    real_deployment.start_worker(concurrency=2)
    jobs = [real_deployment.enqueue("sleep 1; echo token=$ONESHOT_TOKEN").id for _ in range(6)]
    real_deployment.witness.until_count("start", 2)
    over = threading.Timer(pause_s, fresh_server.resume)

    fresh_server.pause()
    over.start()
    try:
        jobs += [
            enqueue_until_accepted(real_deployment, f"asked-{number}", limit_s=pause_s + LIMIT_S) for number in range(3)
        ]
    finally:
        over.join()

    assert_invariants(check_invariants(real_deployment, acknowledged=jobs, strays=marker.alive, limit_s=40))
    assert real_deployment.witness.times("start") == dict.fromkeys(jobs, 1)
    assert {record_of(real_deployment.queue.get(each)).state for each in jobs} == {JobState.COMPLETED}


@pytest.mark.thorough
@case("R4")
def test_emptied_server_is_used_again_and_running_jobs_end(own_deployment: Deployment, marker: ProcessMarker) -> None:
    own_deployment.tune(lease_s=1.8)
    worker = own_deployment.start_worker(concurrency=2)
    lost = own_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}")
    own_deployment.witness.until("start", lost.id)

    errors = Errors(own_deployment.redis, worker)
    empty(own_deployment.redis)
    wait_until(marker.alive, lambda left: not left, what="the processes of the lost job to end")
    after = [own_deployment.enqueue().id for _ in range(3)]

    assert_invariants(check_invariants(own_deployment, acknowledged=after, strays=marker.alive))
    assert own_deployment.witness.times("start") == dict.fromkeys([lost.id, *after], 1)
    errors.assert_rare(most_per_s=2)


@case("R5")
def test_flushed_scripts_are_loaded_again(own_deployment: Deployment, watcher: ResultWatcher) -> None:
    own_deployment.start_worker(concurrency=2)
    jobs = []
    for name in ("enqueue", "claim", "finish"):
        jobs.append(own_deployment.enqueue().id)
        wait_until(own_deployment.entries, lambda left: left == 0, what="the job to end")
        forget_scripts(own_deployment.redis, script(name).sha)

    jobs.append(own_deployment.enqueue().id)

    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, watcher=watcher))


@case("R6")
def test_full_server_refuses_new_jobs_and_still_finishes_and_interrupts_others(
    real_deployment: Deployment, marker: ProcessMarker
) -> None:
    real_deployment.start_worker(concurrency=2)
    ending, sleeping = real_deployment.enqueue("sleep 0.5"), real_deployment.enqueue(marker.sleep)
    waiting = real_deployment.enqueue()
    real_deployment.witness.until("start", sleeping.id)

    with full(real_deployment.redis):
        with pytest.raises(QueueFull):
            real_deployment.enqueue()
        assert ending.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
        assert sleeping.interrupt().state is JobState.INTERRUPTED

    ids = [job.id for job in (ending, sleeping, waiting)]
    assert_invariants(
        check_invariants(real_deployment, acknowledged=ids, interrupted=[sleeping.id], strays=marker.alive)
    )


@contextmanager
def read_only(client: Any) -> Iterator[str]:
    """Make it a replica without a primary."""
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield "read only replica"
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_primary(client: Any) -> Iterator[str]:
    """Make it a replica that refuses reads while its primary is away."""
    client.config_set("replica-serve-stale-data", "no")
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield "link with master is down"
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def forbidding(client: Any) -> Iterator[str]:
    """Forbid all scripts."""
    client.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")
    try:
        yield "no permissions"
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+eval", "+evalsha")


@contextmanager
def busy(client: Any) -> Iterator[str]:
    """Run a script that never ends."""
    client.config_set("lua-time-limit", 50)
    pool = client.connection_pool.connection_kwargs
    with redis.Redis(unix_socket_path=pool["path"], socket_timeout=30) as other:

        def loop() -> None:
            with pytest.raises(redis.ResponseError):
                other.eval("while true do end", 0)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            wait_until(lambda: refusal_of(client), lambda text: "busy" in text.lower(), what="the server to be busy")
            yield "busy"
        finally:
            client.script_kill()
            thread.join()


def refusal_of(client: Any) -> str:
    """The server's error for a script that writes; empty if it has none."""
    try:
        client.eval("return redis.call('SET', KEYS[1], '1')", 1, "one-more")
    except redis.RedisError as refused:
        return str(refused)
    return ""


@pytest.mark.thorough
@case("R10")
@pytest.mark.parametrize("refusing", [read_only, without_primary, forbidding, busy])
def test_no_job_is_lost_while_the_server_refuses_commands(
    real_deployment: Deployment, marker: ProcessMarker, refusing: Callable[[Any], Any]
) -> None:
    worker = real_deployment.start_worker(concurrency=3)
    jobs = [real_deployment.enqueue("sleep 0.3; echo token=$ONESHOT_TOKEN").id for _ in range(6)]
    real_deployment.witness.until_count("start", 3)

    with refusing(real_deployment.redis) as word:
        assert word in refusal_of(real_deployment.redis).lower(), "the fault did not happen"
        real_deployment.witness.until_count("end", 3)
        worker.wait_for("cannot ")
        with pytest.raises(BrokerError):
            real_deployment.enqueue()

    jobs.append(enqueue_until_accepted(real_deployment, "after"))
    assert_invariants(check_invariants(real_deployment, acknowledged=jobs, strays=marker.alive))
    assert real_deployment.witness.times("start")["after"] == 1
    assert worker.is_alive


WIRE_FAULTS: dict[str, Callable[[], WireFault]] = {
    "a reset in the middle of a reply": partial(resets, 7),
    "no replies": lost_replies,
    "fragmented": fragmented,
    "two seconds late": partial(latency, 1.0),
    "half open": half_open,
}


@pytest.mark.thorough
@case("R11")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("make", WIRE_FAULTS.values(), ids=WIRE_FAULTS.keys())
def test_no_client_gets_the_reply_of_another_on_a_faulty_wire(
    own_deployment: Deployment, wire: Wire, watcher: ResultWatcher, make: Callable[[], WireFault]
) -> None:
    settings = replace(own_deployment.settings, url=wire.url)
    worker = own_deployment.start_worker(url=wire.url, concurrency=3)
    with SyncQueue(queue=own_deployment.queue_name, settings=settings) as producer:
        producer.ping()
        command = own_deployment.witness.command("sleep 0.1; echo $ONESHOT_JOB_ID token=$ONESHOT_TOKEN")
        jobs = [producer.enqueue(command).id for _ in range(9)]
        own_deployment.witness.until_count("start", 3)

        with wire.impaired(make()) as fault:
            for number in range(3):
                try:
                    answer = producer.enqueue(command, id=f"asked-{number}")
                except BrokerError:
                    continue
                assert answer.id == f"asked-{number}"
            fault.assert_happened(times=2)

        jobs += [producer.enqueue(command, id=f"asked-{number}").id for number in range(3)]
        verdict = check_invariants(own_deployment, acknowledged=jobs, watcher=watcher, limit_s=40)
        assert_invariants(verdict)
        assert all(output_of(producer.get(each))[0].startswith(each.encode()) for each in jobs)
    worker.stop()
    wait_until(lambda: wire.open_connections, lambda left: left == 0, what="all connections to be closed")


@pytest.mark.thorough
@case("R12")
def test_worker_backs_off_at_the_connection_limit_and_reconnects(
    real_deployment: Deployment, marker: ProcessMarker
) -> None:
    worker = real_deployment.start_worker(concurrency=2)
    jobs = [real_deployment.enqueue("sleep 0.3").id for _ in range(4)]
    real_deployment.witness.until_count("start", 2)
    server = real_deployment.redis
    before = int(server.info("stats")["rejected_connections"])

    errors = Errors(server, worker)
    usual = server.config_get("maxclients")["maxclients"]
    server.config_set("maxclients", 1)
    kill_connections(server)
    wait_until(
        lambda: int(server.info("stats")["rejected_connections"]) - before,
        lambda refused: refused >= 3,
        what="connections to be refused",
    )
    real_deployment.witness.until_count("end", 2)
    # Three connections, each with about two attempts a second.
    errors.assert_rare(most_per_s=12)
    server.config_set("maxclients", usual)

    jobs.append(enqueue_until_accepted(real_deployment, "after"))
    assert_invariants(check_invariants(real_deployment, acknowledged=jobs, strays=marker.alive))


@pytest.mark.thorough
@case("R13")
@pytest.mark.parametrize("pause_s", [2, pytest.param(10, marks=pytest.mark.thorough)])
def test_jobs_are_only_delayed_while_the_server_pauses_its_clients(
    real_deployment: Deployment, marker: ProcessMarker, pause_s: int
) -> None:
    real_deployment.start_worker(concurrency=2)
    jobs = [real_deployment.enqueue("echo token=$ONESHOT_TOKEN").id for _ in range(20)]

    with redis.Redis.from_url(real_deployment.url, socket_timeout=30, protocol=2) as client:
        pause_clients(client, pause_s)

    assert_invariants(check_invariants(real_deployment, acknowledged=jobs, strays=marker.alive))


@case("R13")
def test_worker_that_was_frozen_while_its_connections_were_cut_reconnects(
    own_deployment: Deployment, watcher: ResultWatcher
) -> None:
    worker = own_deployment.start_worker(concurrency=2)
    jobs = [own_deployment.enqueue("sleep 0.2").id for _ in range(6)]
    own_deployment.witness.until_count("start", 2)

    with frozen(worker.worker_pid), redis.Redis.from_url(own_deployment.url, protocol=2) as client:
        kill_connections(client)
        kill_connections(client, "pubsub")

    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, watcher=watcher))
