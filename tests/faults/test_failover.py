"""A replica replaces its primary, even without the last writes: no job that runs or has run starts again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from oneshot_queue import BrokerUnreachable, Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.support.cases import case
from tests.support.clusters import SentinelDeployment, ask, facts_of
from tests.support.deployment import Deployment, record_of
from tests.support.faults import frozen
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess, known_kinds
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.wire import Wire

LEASE_S = 3.0


@pytest.fixture
def sentinels() -> Iterator[SentinelDeployment]:
    with SentinelDeployment(down_after_ms=2_000) as made:
        yield made


@pytest.fixture
def watched(sentinels: SentinelDeployment, namespace: str, queue_name: str, tmp_path: Path) -> Iterator[Deployment]:
    """A queue whose clients and workers find the server through sentinels."""
    made = Deployment(sentinels.url, namespace, queue_name, tmp_path, server_url=sentinels.primary.url, lease_s=LEASE_S)
    yield made
    made.close()


def until_copied(primary: ServerProcess) -> None:
    """Wait until the replica has all writes so far."""
    position = facts_of(primary, "INFO", "replication")["master_repl_offset"]
    wait_until(
        lambda: facts_of(primary, "INFO", "replication").get("slave0", ""),
        lambda info: f"offset={position}" in info or int(info.partition("offset=")[2].split(",")[0]) >= int(position),
        what="the replica to catch up",
    )


def is_demoted(server: ServerProcess) -> bool:
    try:
        return bool(ask(server, "ROLE")[0] == b"slave")
    except redis.RedisError:
        return False  # it hangs up on all_connections at that moment


def is_reached(deployment: Deployment) -> bool:
    try:
        deployment.queue.list()
    except BrokerUnreachable:
        return False
    return True


@pytest.mark.thorough
@case("R7")
@pytest.mark.timeout(150)
def test_jobs_run_on_while_the_primary_is_killed_and_replaced(
    sentinels: SentinelDeployment, watched: Deployment, marker: ProcessMarker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = watched.start_worker(concurrency=3)
    through = [watched.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo token=$ONESHOT_TOKEN") for _ in "ab"]
    waiting = [watched.enqueue("sleep 0.2; echo token=$ONESHOT_TOKEN") for _ in range(20)]
    watched.witness.until_count("end", 3)
    old = sentinels.primary
    until_copied(old)

    old.kill()
    new = sentinels.wait_for_failover_from(old)
    watched.use_server(new.url)
    wait_until(lambda: is_reached(watched), what="a client to find the new primary")
    worker.wait_for("Redis restarted or failed over")
    gate.touch()

    ids = [job.id for job in (*through, *waiting)]
    assert_invariants(check_invariants(watched, acknowledged=ids, strays=marker.alive, limit_s=60))
    assert {record_of(job).state for job in (*through, *waiting)} == {JobState.COMPLETED}
    assert watched.witness.times("start") == dict.fromkeys(ids, 1)
    worker.stop()


@pytest.mark.thorough
@case("R7")
@pytest.mark.timeout(150)
def test_worker_cut_off_with_the_old_primary_is_fenced_when_both_are_back(
    sentinels: SentinelDeployment, watched: Deployment, marker: ProcessMarker
) -> None:
    cut_off = watched.start_worker(concurrency=1)
    lost = watched.enqueue(f"setsid {marker.sleep} & {marker.sleep}; echo token=$ONESHOT_TOKEN")
    watched.witness.until("start", lost.id)
    other = watched.start_worker(concurrency=1)
    old = sentinels.primary
    until_copied(old)

    with frozen(old.pid, *cut_off.pids_of_workers):
        new = sentinels.wait_for_failover_from(old)
        watched.use_server(new.url)
        # For some seconds, clients may still use the old primary, which does not answer.
        wait_until(lambda: is_reached(watched), what="a client to find the new primary")
        settled = wait_until(lambda: record_of(lost), lambda seen: seen.state.is_final, what="the job to be settled")
        meanwhile = watched.enqueue()
        assert meanwhile.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
        assert marker.alive(), "the fault did not happen: the frozen worker's processes are gone"

    wait_until(marker.alive, lambda left: not left, what="its processes to end")
    wait_until(lambda: is_demoted(old), what="the old primary to be demoted")
    after = [watched.enqueue() for _ in range(6)]
    ids = [job.id for job in (lost, meanwhile, *after)]
    assert_invariants(check_invariants(watched, acknowledged=ids, strays=marker.alive, limit_s=60))
    assert (settled.state, settled.cause) == (JobState.FAILED, Cause.WORKER_LOST)
    assert record_of(lost).history == settled.history
    assert watched.witness.times("start") == dict.fromkeys(ids, 1)
    cut_off.stop()
    other.stop()


@pytest.mark.thorough
@case("R8")
@pytest.mark.timeout(90)
def test_no_job_starts_again_when_a_replica_without_the_last_claims_and_results_is_promoted(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, tmp_path: Path
) -> None:
    kind = next(each for each in known_kinds() if each.name == fresh_server.kind)
    replica = ServerProcess(kind, options=["--replicaof", "{} {}".format(*fresh_server.address)])
    try:
        replica.start()
        wait_until(lambda: facts_of(replica, "INFO", "replication")["master_link_status"], "up".__eq__)
        with Wire(fresh_server.socket_path) as wire:
            gate = tmp_path / "gate"
            real_deployment.tune(lease_s=LEASE_S)
            claimed_before = real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done", priority="high")
            script = f"while [ ! -e {tmp_path}/promoted ]; do sleep 0.02; done; echo token=$ONESHOT_TOKEN"
            jobs = [real_deployment.enqueue("echo token=$ONESHOT_TOKEN") for _ in range(5)]
            jobs += [real_deployment.enqueue(script) for _ in range(15)]
            claimed_after = real_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done")
            worker = real_deployment.start_worker(url=wire.url, concurrency=4)
            real_deployment.witness.until_count("end", 5)
            until_copied(fresh_server)

            ask(replica, "REPLICAOF", "NO", "ONE")
            (tmp_path / "promoted").touch()
            real_deployment.witness.until("start", claimed_after.id)
            wait_until(lambda: real_deployment.entries() == 2, what="all jobs but two to end on the old primary")
            real_deployment.use_server(replica.url)
            forgotten = real_deployment.entries()
            wire.redirect_to(replica.socket_path)
            fresh_server.kill()
            worker.wait_for("Redis restarted or failed over")
            gate.touch()

            jobs += [claimed_before, claimed_after]
            real_deployment.tune(url=replica.url)
            ids = [job.id for job in jobs]
            with real_deployment.new_client() as client:
                real_deployment.queue = client
                assert_invariants(check_invariants(real_deployment, acknowledged=ids, strays=marker.alive, limit_s=60))
                assert {client.get(each).refresh().state for each in ids} == {JobState.COMPLETED}
            assert forgotten > 2, "the fault did not happen: the replica had all results"
            assert real_deployment.witness.times("start") == dict.fromkeys(ids, 1)
            worker.stop()
            real_deployment.close()
    finally:
        replica.close()
