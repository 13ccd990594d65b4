"""A worker that dies while Redis is away: its replacement waits for Redis, and its siblings' jobs go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneshot_queue import JobState
from tests.support.deployment import Deployment
from tests.support.limits import limit_s
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until


@pytest.fixture
def own_deployment(
    fresh_server: ServerProcess, namespace: str, queue_name: str, tmp_path: Path
) -> Iterator[Deployment]:
    made = Deployment(fresh_server.url, namespace, queue_name, tmp_path)
    yield made
    made.close()


@pytest.mark.thorough
def test_worker_that_dies_while_redis_is_away_costs_its_sibling_no_job(
    own_deployment: Deployment, fresh_server: ServerProcess
) -> None:
    arguments = ["--processes", "2", "--drain-timeout", "0.1"]
    worker = own_deployment.start_worker(concurrency=2, arguments=arguments, until_ready=False)
    worker.wait_for("worker ", times=2)
    gate = own_deployment.witness.path.with_name("gate")
    job = own_deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done")
    own_deployment.witness.until("start", job.id)
    shown = wait_until(
        lambda: {bool(each.running): each.pid for each in own_deployment.queue.workers()}, lambda s: len(s) == 2
    )
    victim, sibling = shown[False], shown[True]

    fresh_server.kill()
    os.kill(victim, signal.SIGKILL)
    line = worker.wait_for("failed, retrying: cannot reach the broker")
    tried: set[int] = set()

    def replacements() -> set[int]:
        tried.update(worker.pids_of_workers)
        return tried - {victim, sibling}

    wait_until(replacements, lambda pids: len(pids) >= 2, what="one more after the first replacement")
    fresh_server.start()
    wait_until(
        lambda: {each.pid for each in own_deployment.queue.workers()},
        lambda pids: len(pids & set(worker.pids_of_workers)) == 2,
        what="a replacement to work",
    )
    gate.touch()

    assert job.wait(timeout=limit_s(20)).state is JobState.COMPLETED
    assert sibling in worker.pids_of_workers
    assert worker.lines.count(line) == 1
    worker.stop()
