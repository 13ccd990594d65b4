"""``run`` on a local broker without workers: it starts a worker for exactly this job."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli
from tests.support.limits import limit_s
from tests.support.waiting import LIMIT_S, wait_until


def test_run_needs_no_setup(local_cli: Cli) -> None:
    done = local_cli("run", "sh", "-c", "echo out; echo err >&2; exit 7")

    assert (done.code, done.out, done.err) == (7, b"out\n", "err\n")


@pytest.mark.thorough
def test_ten_concurrent_runs_without_a_worker_all_end(local_cli: Cli) -> None:
    local_cli("broker", "start")

    runs = [local_cli.start("run", "sh", "-c", f"echo {number}; exit {number}") for number in range(10)]

    ended = [run.done() for run in runs]
    assert [(done.code, done.out) for done in ended] == [(number, b"%d\n" % number) for number in range(10)]


def test_the_worker_claims_no_other_job(local_cli: Cli) -> None:
    waiting = local_cli("enqueue", "true").line

    assert local_cli("run", "echo", "mine").out == b"mine\n"

    assert local_cli.job(waiting)["state"] == "CREATED"


def test_the_worker_exits_with_its_job(local_cli: Cli) -> None:
    local_cli("run", "true")

    wait_until(lambda: local_cli("workers", "--json").json, lambda workers: workers == [])


def test_a_live_worker_runs_the_job_instead(local_cli: Cli) -> None:
    worker = local_cli.start("worker", "--name", "resident", "-c", "1")
    worker.until("worker resident")

    local_cli("run", "true")

    assert local_cli.job("last")["worker"] == "resident"
    worker.signal(signal.SIGTERM)
    assert worker.done().code == 0


@pytest.mark.thorough
def test_a_worker_that_stops_before_it_claims_the_job_is_replaced(local_cli: Cli) -> None:
    worker = local_cli.start("worker", "--name", "leaving", "-c", "1")
    worker.until("worker leaving")
    local_cli("enqueue", "--id", "blocker", "--", "sleep", "60")
    wait_until(lambda: local_cli.job("blocker")["state"], lambda state: state == "RUNNING")
    running = local_cli.start("run", "echo", "in the end")
    wait_until(lambda: len(local_cli("ls", "-s", "CREATED", "--json").json), lambda count: count == 1)

    worker.signal(signal.SIGTERM)
    worker.until("stopping")
    worker.signal(signal.SIGTERM)

    assert running.done().out == b"in the end\n"
    assert worker.done().code == 0


def test_ctrl_c_ends_the_job_and_not_the_worker(local_cli: Cli) -> None:
    terminal = local_cli.on_terminal("run", "sh", "-c", "echo started; sleep 60")
    terminal.until("started")

    terminal.type(b"\x03")

    assert terminal.done().code == 130
    job = local_cli.job("last")
    assert (job["state"], job["cause"]) == ("INTERRUPTED", "interrupted")


def test_a_worker_that_cannot_start_is_reported_with_its_stderr(local_cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import os, sys\nif '--only-job' in sys.orig_argv: os.write(2, b'no worker today'); os._exit(1)\n"
    )
    local_cli("broker", "start")
    local_cli.env["PYTHONPATH"] = str(tmp_path)
    running = local_cli.start("run", "--id", "stays", "true")

    running.until("the worker started for job stays exited without claiming it:")
    running.until("no worker today")
    running.until("start one with: oneshot-queue worker -q default")

    running.signal(signal.SIGINT)
    assert running.done().code == 130


def test_another_broker_gets_no_worker_but_a_notice(cli: Cli, pretender: PretendWorker) -> None:
    running = cli.start("run", "-q", "unattended", "--id", "waits", "true")

    began = time.monotonic()
    running.until("no live worker on queue unattended; start one with: oneshot-queue worker -q")

    assert time.monotonic() - began < limit_s(LIMIT_S)
    running.signal(signal.SIGINT)
    assert running.done().code == 130
