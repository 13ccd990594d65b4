"""Processes that misbehave, and their worker (P)."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from oneshot_queue import Cause, JobState
from tests.faults.collecting import check_invariants
from tests.faults.evidence import Footprint
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, until_state
from tests.support.deployment_fixtures import SECRETS
from tests.support.faults import Monitor, kill_process
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.repository import ROOT
from tests.support.waiting import TIMEOUT_S, wait_until


@case("P1", "P5")
def test_no_process_of_a_job_is_left_when_its_interrupt_returns(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.start_worker(concurrency=4)
    scripts = {
        f"{marker.sleep} & exec {marker.sleep}": 2,
        f"({marker.sleep} &); {marker.sleep}": 2,
        f"setsid {marker.sleep} & nohup {marker.sleep} > /dev/null 2>&1 & {marker.sleep}": 3,
        f"(setsid sh -c '({marker.sleep} &)' &); for i in $(seq 50); do {marker.sleep} & done; wait": 51,
    }
    jobs = [own_deployment.enqueue(script, grace=2) for script in scripts]
    wait_until(marker.alive, lambda seen: len(seen) == sum(scripts.values()), what="all processes of the jobs")

    own_deployment.queue.interrupt([job.id for job in jobs])

    assert marker.alive() == []
    ids = [job.id for job in jobs]
    assert_invariants(
        check_invariants(own_deployment, acknowledged=ids, interrupted=ids, watcher=watcher, strays=marker.alive)
    )


@case("P11")
def test_job_killed_by_a_foreign_signal_fails_and_is_not_interrupted(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.start_worker()
    job = own_deployment.enqueue(f"{marker.sleep} & {marker.sleep}")
    leader = own_deployment.witness.until("start", job.id).pid
    wait_until(marker.alive, lambda seen: len(seen) == 2, what="both sleepers")

    kill_process(leader)

    record = until_state(job, JobState.FAILED)
    assert (record.cause, record.signal) == (Cause.SIGNAL, 9)
    assert_invariants(check_invariants(own_deployment, acknowledged=[job.id], watcher=watcher, strays=marker.alive))


@pytest.mark.thorough
@case("P15")
def test_five_hundred_short_jobs_leave_no_resource_behind(own_deployment: Deployment, watcher: ResultWatcher) -> None:
    worker = own_deployment.start_worker(concurrency=4)
    jobs = [own_deployment.enqueue().id for _ in range(4)]
    for each in jobs:
        own_deployment.queue.get(each).wait(timeout=TIMEOUT_S)
    # Compare an idle worker with an idle worker: a busy one uses more connections.
    worker.wait_until_idle()
    before = Footprint.of(worker.worker_pid)

    for job in [own_deployment.queue.enqueue(["true"]) for _ in range(500)]:
        jobs.append(job.id)
        if len(jobs) % 50 == 0:
            job.wait(timeout=TIMEOUT_S)
    wait_until(own_deployment.entries, lambda left: left == 0, what="all jobs to end")
    worker.wait_until_idle()

    grown = {"worker": (before, Footprint.of(worker.worker_pid))}
    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, watcher=watcher, grown=grown))


@case("P16")
def test_no_secret_of_the_worker_reaches_a_job_its_log_or_the_server(
    real_deployment: Deployment, marker: ProcessMarker
) -> None:
    with Monitor(real_deployment.url) as monitor:
        worker = real_deployment.start_worker(environment={**SECRETS, "ONESHOT_TEST_FAULTS": "1"})
        job = real_deployment.enqueue("env; cat /proc/self/environ")
        job.wait(timeout=TIMEOUT_S)
        wait_until(monitor.text, lambda seen: job.id in seen, what="the job to appear in the monitor")
        worker.stop()
        output = b"".join(chunk.data for chunk in job.output()).decode()
        texts = {"output": output, "log": "\n".join(worker.lines), "monitor": monitor.text()}

    assert "ONESHOT_JOB_ID" in output
    assert "ONESHOT_TEST_FAULTS" not in output
    assert real_deployment.url not in output
    secrets = dict.fromkeys(SECRETS, "canary")
    verdict = check_invariants(
        real_deployment, acknowledged=[job.id], secrets=secrets, texts=texts, strays=marker.alive, has_worker=False
    )
    assert_invariants(verdict)


@case("P20")
def test_reused_process_id_is_never_signalled() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "tests.faults.reused_pid"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit_s(60),
        check=False,
    )
    if "unshare" in done.stderr or "ns_last_pid" in done.stderr:
        pytest.skip(f"a pid namespace is not permitted here: {done.stderr.splitlines()[-1]}")

    assert done.stdout.split() == ["same", "number", "reserved", "alive"], done.stderr


@case("P2", "P8")
def test_job_completes_though_its_pipes_close_early_or_stay_open(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.start_worker(concurrency=4)

    jobs = [
        own_deployment.enqueue(script)
        for script in (f"{marker.sleep} & exit 0", "exec > /dev/null; sleep 0.1", "exec > /dev/null 2>&1", "echo e >&2")
    ]

    assert {job.wait(timeout=TIMEOUT_S).state for job in jobs} == {JobState.COMPLETED}
    assert_invariants(
        check_invariants(own_deployment, acknowledged=[job.id for job in jobs], watcher=watcher, strays=marker.alive)
    )
