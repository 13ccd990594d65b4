"""Signals to ``run``: interrupt, kill, stop waiting."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from oneshot_queue.errors import InterruptNotConfirmed
from oneshot_queue.store.claims import Claim
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import PROGRAM, Cli
from tests.support.leftovers import is_alive
from tests.support.limits import limit_s
from tests.support.servers import Server
from tests.support.waiting import LIMIT_S, wait_until


def _claimed(cli: Cli, pretender: PretendWorker, job_id: str) -> Claim | None:
    return pretender.claim(job_id) if cli("show", job_id).code == 0 else None


def test_first_ctrl_c_interrupts_the_job_and_shows_its_last_output(served: Cli) -> None:
    job_id = f"once-{os.urandom(4).hex()}"
    script = "trap 'echo tidying up; exit 0' TERM; echo started; while :; do sleep 0.01; done"
    terminal = served.on_terminal("run", "--id", job_id, "sh", "-c", script)
    terminal.until("started")

    terminal.type(b"\x03")

    done = terminal.done()
    assert done.code == 130
    assert f"interrupting job {job_id}; press Ctrl-C again to kill it" in done.text
    assert "tidying up" in done.text
    assert served.job(job_id)["state"] == "INTERRUPTED"
    assert served.job(job_id)["reason"] == "Ctrl-C in oneshot-queue run"


def test_second_ctrl_c_kills_the_job(served: Cli) -> None:
    job_id = f"twice-{os.urandom(4).hex()}"
    script = "trap 'echo not yet' TERM; echo pid $$; while :; do sleep 0.01; done"
    terminal = served.on_terminal("run", "--grace", "60s", "--id", job_id, "sh", "-c", script)
    terminal.until("pid ")
    terminal.until("\n")
    pid = int(terminal.seen.split(b"pid ")[1].split()[0])

    terminal.type(b"\x03")
    terminal.until("not yet")
    terminal.type(b"\x03")

    done = terminal.done()
    assert done.code == 130
    assert f"killing job {job_id}" in done.text
    assert not is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_every_ending_signal_interrupts_the_job(served: Cli, number: signal.Signals) -> None:
    running = served.start("run", "sh", "-c", "echo started; sleep 60")
    running.until("started", on="out")

    running.signal(number)

    done = running.done()
    assert done.code == 130
    assert "interrupting job" in done.err


def test_ctrl_c_ends_a_waiting_job_without_a_worker(cli: Cli) -> None:
    running = cli.start("run", "--id", "waits", "true")
    running.until("no live worker on queue default")

    running.signal(signal.SIGINT)

    assert running.done().code == 130
    assert cli.job("waits")["state"] == "INTERRUPTED"


def test_ctrl_c_works_while_output_is_blocked_by_its_reader(served: Cli) -> None:
    reader, writer = os.pipe()
    job_id = f"stuck-{os.urandom(4).hex()}"
    running = served.start("run", "--id", job_id, "sh", "-c", "yes | head -c 1000000; sleep 60", stdout=writer)
    os.close(writer)
    wait_until(lambda: served("show", job_id).code == 0, what="the job to be stored")
    wait_until(lambda: served.job(job_id)["output"]["bytes"] >= 1_000_000)

    running.signal(signal.SIGINT)

    assert served("wait", job_id).code == 130
    assert running.process.poll() is None
    while os.read(reader, 65_536):
        pass
    os.close(reader)
    assert running.done().code == 130


def test_third_ctrl_c_stops_waiting_for_the_worker(cli: Cli, pretender: PretendWorker) -> None:
    running = cli.start("run", "--id", "deaf", "true")
    wait_until(lambda: _claimed(cli, pretender, "deaf"))

    running.signal(signal.SIGINT)
    running.until("interrupting job")
    running.signal(signal.SIGINT)
    running.until("killing job")
    running.signal(signal.SIGINT)

    done = running.done()
    assert done.code == 130
    assert "no longer waiting for job deaf; its interrupt is recorded" in done.err
    assert cli.job("deaf")["interrupting"] is True


@pytest.mark.thorough
def test_one_signal_is_enough_if_the_worker_is_not_alive(cli: Cli, server: Server) -> None:
    with PretendWorker(server.url, cli.namespace, is_seen=False) as silent:
        running = cli.start("run", "--id", "lost", "true")
        wait_until(lambda: _claimed(cli, silent, "lost"))

        running.signal(signal.SIGTERM)

        done = running.done()
    assert done.code == 125
    assert str(InterruptNotConfirmed("lost", "RUNNING", None, None)) in done.err


def test_a_signal_ignored_at_the_start_stays_ignored(served: Cli, tmp_path: Path) -> None:
    script = f"echo started; until test -e {tmp_path}/go; do sleep 0.01; done"
    shell = subprocess.Popen(
        ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *PROGRAM, "run", "sh", "-c", script],
        env=served.env,
        stdout=subprocess.PIPE,
    )
    assert shell.stdout is not None
    assert shell.stdout.readline() == b"started\n"

    shell.send_signal(signal.SIGHUP)
    (tmp_path / "go").touch()

    assert shell.wait(limit_s(LIMIT_S)) == 0
    shell.stdout.close()
