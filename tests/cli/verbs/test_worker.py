"""``worker``: its lines, burst, and how signals stop it."""

from __future__ import annotations

import signal

from tests.support.command_line import Cli


def test_worker_prints_a_header_and_a_line_for_each_start_and_end(cli: Cli) -> None:
    job_id = cli("enqueue", "-q", "builds", "sh", "-c", "exit 3").line
    worker = cli.start("worker", "-q", "builds", "-q", "default", "-c", "3", "--name", "bob")

    worker.until(f"end   {job_id}")
    worker.signal(signal.SIGTERM)

    done = worker.done()
    assert (done.code, done.out) == (0, b"")
    first, start, end = done.err.splitlines()[:3]
    assert first.startswith("worker bob")
    assert "queues builds, default" in first
    assert "3 slots" in first
    assert job_id in start
    assert "exit 3" in end


def test_burst_exits_once_its_queues_are_empty(cli: Cli) -> None:
    jobs = [cli("enqueue", "true").line for _ in range(3)]

    done = cli("worker", "--burst", "--quiet")

    assert (done.code, done.out, done.err) == (0, b"", "")
    assert [cli.job(job_id)["state"] for job_id in jobs] == ["COMPLETED"] * 3


def test_worker_without_a_broker_exits_with_5(cli: Cli) -> None:
    done = cli("--url", "redis://127.0.0.1:1", "worker")

    assert done.code == 5
    assert "is it running" in done.err


def test_first_ctrl_c_drains_and_second_interrupts_the_jobs(cli: Cli) -> None:
    job_id = cli("enqueue", "sleep", "60").line
    terminal = cli.on_terminal("worker", "-c", "1")
    terminal.until(f"start {job_id}")

    terminal.type(b"\x03")
    terminal.until("stopping")
    terminal.type(b"\x03")

    assert terminal.done().code == 0
    assert cli.job(job_id)["state"] == "INTERRUPTED"
