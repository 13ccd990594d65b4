"""``worker``, ``up`` and ``broker``."""

from __future__ import annotations

import signal

import pytest

from tests.support.command_line import Cli
from tests.support.waiting import wait_until


def test_a_worker_says_who_it_is_then_one_line_for_each_start_and_end(cli: Cli) -> None:
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


def test_burst_ends_when_its_queues_are_empty(cli: Cli) -> None:
    jobs = [cli("enqueue", "true").line for _ in range(3)]

    done = cli("worker", "--burst", "--quiet")

    assert (done.code, done.out, done.err) == (0, b"", "")
    assert [cli.job(job_id)["state"] for job_id in jobs] == ["COMPLETED"] * 3


def test_a_worker_without_a_broker_exits_with_5(cli: Cli) -> None:
    done = cli("--url", "redis://127.0.0.1:1", "worker")

    assert done.code == 5
    assert "is it running" in done.err


def test_ctrl_c_drains_a_worker_and_a_second_one_interrupts_its_jobs(cli: Cli) -> None:
    job_id = cli("enqueue", "sleep", "60").line
    terminal = cli.on_terminal("worker", "-c", "1")
    terminal.until(f"start {job_id}")

    terminal.type(b"\x03")
    terminal.until("stopping")
    terminal.type(b"\x03")

    assert terminal.done().code == 0
    assert cli.job(job_id)["state"] == "INTERRUPTED"


def test_up_is_the_local_broker_and_a_worker_in_the_foreground(local_cli: Cli) -> None:
    up = local_cli.start("up", "-c", "2", "--name", "home")
    up.until("worker home")

    assert local_cli("run", "echo", "done").out == b"done\n"
    assert local_cli.job("last")["worker"] == "home"

    up.signal(signal.SIGINT)
    done = up.done()
    assert done.code == 0
    assert "local broker: redis-server" in done.err or "local broker: " in done.err
    assert local_cli("broker", "status").code == 0


def test_up_ignores_a_url_of_the_environment_and_says_so(local_cli: Cli) -> None:
    local_cli.env["ONESHOT_QUEUE_URL"] = "redis://127.0.0.1:1"
    up = local_cli.start("up")

    up.until("not the one that ONESHOT_QUEUE_URL names")
    up.until("worker ")

    up.signal(signal.SIGTERM)
    assert up.done().code == 0


def test_the_local_broker_is_started_shown_and_stopped(local_cli: Cli) -> None:
    nothing = local_cli("broker", "status")
    assert (nothing.code, nothing.out) == (5, b"")
    assert "does not run" in nothing.err

    started = local_cli("broker", "start")
    assert started.code == 0
    assert started.text.splitlines()[0].split()[0] == "url"
    assert str(local_cli.state) in started.text
    assert local_cli("broker", "status").text == started.text
    assert local_cli("broker", "start").text == started.text

    stopped = local_cli("broker", "stop")
    assert (stopped.code, stopped.out) == (0, b"")
    assert "was stopped" in stopped.err
    assert "did not run" in local_cli("broker", "stop").err
    assert local_cli("broker", "status").code == 5


def test_jobs_outlive_the_local_broker(local_cli: Cli) -> None:
    job_id = local_cli("enqueue", "true").line
    local_cli("broker", "stop")

    assert local_cli.job(job_id)["state"] == "CREATED"


def test_broker_without_a_word_says_what_there_is(local_cli: Cli) -> None:
    done = local_cli("broker", "strat")

    assert done.code == 2
    assert "did you mean start" in done.err


@pytest.mark.parametrize("verb", [["ls"], ["enqueue", "true"], ["workers"]], ids=lambda words: words[0])
def test_a_verb_starts_the_local_broker_once_and_leaves_it(local_cli: Cli, verb: list[str]) -> None:
    verbs = [local_cli.start(*verb) for _ in range(5)]

    assert [each.done().code for each in verbs] == [0] * 5
    wait_until(lambda: local_cli("broker", "status").code, lambda code: code == 0)
