"""The link between two hosts is cut: jobs run on, and their output arrives after the repair."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.hosts import TwoHosts, missing_permission, server_command
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, output_of, record_of
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerKind
from tests.support.waiting import wait_until
from tests.support.worker_process import PROGRAM

LEASE_S = 3.0


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    if reason := missing_permission():
        pytest.skip(reason)
    with TwoHosts() as made:
        yield made


@pytest.fixture
def far_deployment(
    hosts: TwoHosts, server_kind: ServerKind, namespace: str, queue_name: str, tmp_path: Path
) -> Iterator[Deployment]:
    """A server on one host, which workers on the other host use by the link and the test by its unix socket."""
    if not server_kind.is_real:
        pytest.skip("fakeredis does not listen on TCP")
    folder = tmp_path / "server"
    folder.mkdir()
    socket_path = folder / "s"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    argv = hosts.on_server_host(server_command(server_kind, str(folder), str(socket_path)))
    server = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: socket_path.exists() or server.poll() is not None, what="the server")
        assert server.poll() is None, "the server ended while starting"
        made = Deployment(f"unix://{socket_path}", namespace, queue_name, tmp_path)
        yield made
        made.close()
    finally:
        server.kill()
        server.wait()


@case("R11")
def test_worker_that_is_cut_off_for_a_while_loses_no_job_and_no_output(
    far_deployment: Deployment, hosts: TwoHosts, marker: ProcessMarker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = far_deployment.start_worker(url=hosts.url, concurrency=2, program=hosts.on_worker_host(PROGRAM))
    within = far_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done; echo within")
    through = far_deployment.enqueue(f"while [ ! -e {gate}-2 ]; do sleep 0.02; done; echo through")
    waiting = far_deployment.enqueue("echo after")
    far_deployment.witness.until_count("start", 2)

    with ResultWatcher(far_deployment) as watcher:
        assert hosts.cut() > 0
        gate.touch()
        far_deployment.witness.until("end", within.id)
        worker.wait_for("cannot ")
        assert record_of(within).state is JobState.RUNNING, "the fault did not happen: the link was not cut"
        hosts.repair()
        Path(f"{gate}-2").touch()

        jobs = [within, through, waiting]
        verdict = check_invariants(
            far_deployment, acknowledged=[job.id for job in jobs], watcher=watcher, strays=marker.alive, limit_s=40
        )
    assert_invariants(verdict)
    assert [output_of(job)[0] for job in jobs] == [b"within\n", b"through\n", b"after\n"]
    assert record_of(within).host == hosts.worker_host
    worker.stop()


@pytest.mark.thorough
@pytest.mark.timeout(90)
def test_jobs_of_a_vanished_host_are_settled_and_it_writes_nothing_when_it_returns(
    far_deployment: Deployment, hosts: TwoHosts, marker: ProcessMarker
) -> None:
    far_deployment.tune(lease_s=LEASE_S)
    vanishing = far_deployment.start_worker(url=hosts.url, concurrency=2, program=hosts.on_worker_host(PROGRAM))
    lost = far_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}")
    script = f'[ "$ONESHOT_ATTEMPT" = 2 ] && exit; setsid {marker.sleep} & {marker.sleep}'
    again = far_deployment.enqueue(script, retries=1, retry_on=["worker_lost"], retry_delay=0.1)
    wait_until(marker.alive, lambda seen: len(seen) == 4, what="all sleepers")
    far_deployment.start_worker(concurrency=1)

    with ResultWatcher(far_deployment) as watcher:
        assert hosts.cut() > 0
        began = time.monotonic()
        for job in (lost, again):
            wait_until(lambda job=job: record_of(job), lambda seen: seen.state.is_final, what=f"job {job.id}")  # type: ignore[misc]
        assert time.monotonic() - began < 2 * LEASE_S + 5
        assert len(marker.alive()) == 2, "only the job with retries ends on the host that is cut off"
        written = record_of(lost)
        hosts.repair()
        wait_until(marker.alive, lambda left: not left, what="the processes on the returning host to end")

        after = [far_deployment.enqueue() for _ in range(6)]
        ids = [job.id for job in (lost, again, *after)]
        verdict = check_invariants(far_deployment, acknowledged=ids, watcher=watcher, strays=marker.alive)
    assert_invariants(verdict)
    assert (written.state, written.cause) == (JobState.FAILED, Cause.WORKER_LOST)
    assert record_of(lost) == written
    assert (record_of(again).state, record_of(again).attempt) == (JobState.COMPLETED, 2)
    vanishing.stop()
