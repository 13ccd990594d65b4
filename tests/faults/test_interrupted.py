"""An interrupt reaches its job whatever fails on the way, and leaves nothing half done (N)."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from oneshot_queue import InterruptResult, JobState, SyncJob
from tests.faults.collecting import check_invariants
from tests.faults.invariants import assert_invariants
from tests.faults.result_watcher import ResultWatcher
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until
from tests.support.wire import Wire
from tests.support.wire_faults import half_open, subscribers

# The fields of a job, its entry, two indexes, its history, four expiries, and the announcements.
COMMANDS_PER_INTERRUPT = 40


def scripts_and_their_commands(deployment: Deployment) -> tuple[int, int]:
    """Count the scripts and all other commands, inside scripts too, since the server's statistics were reset.

    Unlike durations, these numbers do not depend on the machine.
    """
    calls = {
        name.removeprefix("cmdstat_"): int(each["calls"])
        for name, each in deployment.redis.info("commandstats").items()
    }
    scripts = calls.pop("evalsha", 0) + calls.pop("eval", 0)
    return scripts, sum(calls.values())


def interrupt(deployment: Deployment, *words: str) -> tuple[int, str, float]:
    """Run ``interrupt`` on the command line; returns its exit code, its output, and its duration in seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "oneshot_queue", "interrupt", "-q", deployment.queue_name, *words],
        env={**environment, "ONESHOT_QUEUE_URL": deployment.url, **deployment.variables()},
        capture_output=True,
        text=True,
        timeout=limit_s(60),
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - began


@case("N4")
def test_interrupt_arrives_without_any_announcement(
    own_deployment: Deployment, wire: Wire, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.tune(lease_s=6.0)
    fault = wire.impair(half_open(on=subscribers))
    own_deployment.start_worker(url=wire.url)
    job = own_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}")
    own_deployment.witness.until("start", job.id)
    fault.assert_happened()

    began = time.monotonic()
    report = job.interrupt()
    took_s = time.monotonic() - began

    assert report.result is InterruptResult.INTERRUPTED
    # The next renewal brings it, within a second; nothing else would before the lease ends.
    assert took_s < 6.0 / 2
    assert_invariants(
        check_invariants(
            own_deployment, acknowledged=[job.id], interrupted=[job.id], watcher=watcher, strays=marker.alive
        )
    )


@pytest.mark.thorough
@case("N14")
@pytest.mark.parametrize("how", ["stopped", pytest.param("frozen", marks=pytest.mark.thorough)])
def test_interrupt_while_the_server_is_away_fails_fast_and_leaves_nothing_half_done(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, how: str
) -> None:
    worker = real_deployment.start_worker()
    job = real_deployment.enqueue(marker.sleep)
    real_deployment.witness.until("start", job.id)

    fresh_server.stop() if how == "stopped" else fresh_server.pause()
    code, text, took_s = interrupt(real_deployment, job.id)
    fresh_server.start() if how == "stopped" else fresh_server.resume()

    assert (code, took_s < limit_s(20)) == (5, True), text
    record = wait_until(lambda: record_of(job), what="the server to be back")
    if how == "stopped":
        assert (record.state, record.interrupt_requested_ms) == (JobState.RUNNING, None)
        assert marker.alive()
    assert interrupt(real_deployment, job.id)[0] in {0, 4}
    assert_invariants(
        check_invariants(real_deployment, acknowledged=[job.id], interrupted=[job.id], strays=marker.alive)
    )
    worker.stop()


@pytest.mark.thorough
@case("N15")
def test_interrupt_of_five_thousand_jobs_ends_all_with_bounded_work_per_script(
    own_deployment: Deployment, watcher: ResultWatcher, marker: ProcessMarker
) -> None:
    own_deployment.start_worker(concurrency=20)
    jobs = [
        each.id
        for each in own_deployment.queue.enqueue_many([own_deployment.witness.command(marker.sleep)] * 5_000)
        if isinstance(each, SyncJob)
    ]
    own_deployment.witness.until_count("start", 20)
    own_deployment.redis.config_resetstat()

    code, text, _ = interrupt(own_deployment, "--all", "--yes")

    assert code == 0, text[-500:]
    assert marker.alive() == []
    scripts, commands = scripts_and_their_commands(own_deployment)
    assert scripts >= 5_000
    assert commands / scripts < COMMANDS_PER_INTERRUPT, "the work of a script grows with the number of jobs"
    assert len(own_deployment.witness.of("start")) == 20
    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, interrupted=jobs, watcher=watcher))
