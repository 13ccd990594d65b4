"""An interrupt reaches its job whatever happens on the way, and leaves nothing half done (N)."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from oneshot_queue import InterruptResult, JobState, SyncJob
from tests.faults.collecting import check_invariants
from tests.faults.ends import EndsWatcher
from tests.faults.invariants import assert_invariants
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess
from tests.support.troubles import half_open, subscribers
from tests.support.waiting import wait_until
from tests.support.wire import Wire

# A job's fields, its entry, its two indexes, its history, four keys that get an end, and those who listen.
COMMANDS_PER_INTERRUPT = 40


def scripts_and_their_commands(deployment: Deployment) -> tuple[int, int]:
    """How many scripts the server ran since its numbers were reset, and how many commands within and beside them.

    How long they take depends on the machine; how much they do does not.
    """
    calls = {
        name.removeprefix("cmdstat_"): int(each["calls"])
        for name, each in deployment.redis.info("commandstats").items()
    }
    scripts = calls.pop("evalsha", 0) + calls.pop("eval", 0)
    return scripts, sum(calls.values())


def interrupt(deployment: Deployment, *words: str) -> tuple[int, str, float]:
    """What the command line says: exit code, text, and how long it took."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "oneshot_queue", "interrupt", "-q", deployment.queue_name, *words],
        env={**environment, "ONESHOT_QUEUE_URL": deployment.url, **deployment.variables()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - began


@case("N4")
def test_an_interrupt_arrives_although_nothing_is_heard_from_any_channel(
    own_deployment: Deployment, wire: Wire, ends: EndsWatcher, marker: ProcessMarker
) -> None:
    own_deployment.tune(lease_s=6.0)
    trouble = wire.inflict(half_open(on=subscribers))
    own_deployment.start_worker(url=wire.url)
    job = own_deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}")
    own_deployment.witness.until("start", job.id)
    trouble.assert_struck()

    began = time.monotonic()
    report = job.interrupt()
    took_s = time.monotonic() - began

    assert report.result is InterruptResult.INTERRUPTED
    # The next renewal brings it, a second later at most; nothing else would within a lease.
    assert took_s < 6.0 / 2
    assert_invariants(
        check_invariants(own_deployment, acknowledged=[job.id], interrupted=[job.id], ends=ends, strays=marker.alive)
    )


@case("N14")
@pytest.mark.parametrize("how", ["stopped", pytest.param("frozen", marks=pytest.mark.thorough)])
def test_an_interrupt_while_the_server_is_away_fails_fast_and_leaves_nothing_half_done(
    real_deployment: Deployment, fresh_server: ServerProcess, marker: ProcessMarker, how: str
) -> None:
    worker = real_deployment.start_worker()
    job = real_deployment.enqueue(marker.sleep)
    real_deployment.witness.until("start", job.id)

    fresh_server.stop() if how == "stopped" else fresh_server.pause()
    code, text, took_s = interrupt(real_deployment, job.id)
    fresh_server.start() if how == "stopped" else fresh_server.resume()

    assert (code, took_s < 20) == (5, True), text
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
def test_five_thousand_jobs_are_interrupted_in_one_go_and_no_script_does_much(
    own_deployment: Deployment, ends: EndsWatcher, marker: ProcessMarker
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
    assert commands / scripts < COMMANDS_PER_INTERRUPT, "what a script does grows with the number of jobs"
    assert len(own_deployment.witness.of("start")) == 20
    assert_invariants(check_invariants(own_deployment, acknowledged=jobs, interrupted=jobs, ends=ends))
