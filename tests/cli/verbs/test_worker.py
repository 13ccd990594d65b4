"""``worker``: its lines, burst, and how signals stop it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from oneshot_queue.workers.processes.procfs import children_of
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


@pytest.mark.thorough
def test_burst_exits_once_its_queues_are_empty(cli: Cli) -> None:
    jobs = [cli("enqueue", "true").line for _ in range(3)]

    done = cli("worker", "--burst", "--quiet")

    assert (done.code, done.out, done.err) == (0, b"", "")
    assert [cli.job(job_id)["state"] for job_id in jobs] == ["COMPLETED"] * 3


def test_every_line_of_a_worker_with_json_logs_is_an_object_with_its_fields(cli: Cli) -> None:
    worker = cli.start("worker", "-q", "builds", "--name", "bob", "--log-format", "json", "--log-level", "info")
    worker.until("worker bob")
    job_ids = [cli("enqueue", "-q", "builds", *words).line for words in (["true"], ["sh", "-c", "exit 3"])]

    for job_id in job_ids:
        worker.until(f"end   {job_id}")
    worker.signal(signal.SIGTERM)

    entries = [json.loads(line) for line in worker.done().err.splitlines()]
    assert all(entry.keys() >= {"time", "level", "logger", "message", "worker"} for entry in entries), entries
    assert {entry["worker"] for entry in entries} == {"bob"}
    for job_id, cause in zip(job_ids, ("exit", "exit"), strict=True):
        start, end = (entry for entry in entries if entry.get("job") == job_id)
        assert (start["message"].split()[0], start["queue"], start["attempt"]) == ("start", "builds", 1)
        assert (end["message"].split()[0], end["queue"], end["attempt"], end["cause"]) == ("end", "builds", 1, cause)


def test_supervisor_with_json_logs_writes_objects_too(cli: Cli) -> None:
    supervisor = cli.start("worker", "--name", "bob", "--log-format", "json")
    supervisor.until("worker bob")
    (pid,) = children_of(supervisor.process.pid)
    os.kill(pid, signal.SIGKILL)
    supervisor.until("died (signal 9)")
    supervisor.signal(signal.SIGTERM)

    entries = [json.loads(line) for line in supervisor.done().err.splitlines()]

    (died,) = (entry for entry in entries if "died (signal 9)" in entry["message"])
    assert (died["level"], died["worker"]) == ("warning", "bob")


def test_a_worker_with_json_logs_and_no_broker_says_so_in_an_object(cli: Cli) -> None:
    done = cli("--url", "redis://127.0.0.1:1", "worker", "--log-format", "json")

    assert done.code == 5
    (entry,) = map(json.loads, done.err.splitlines())
    assert (entry["level"], "is it running" in entry["message"]) == ("warning", True)


def test_up_with_json_logs_writes_nothing_but_objects(local_cli: Cli) -> None:
    up = local_cli.start("up", "--name", "home", "--log-format", "json")
    up.until("worker home")
    up.signal(signal.SIGINT)

    messages = [json.loads(line)["message"] for line in up.done().err.splitlines()]

    assert messages[0].startswith("local broker: ")


@pytest.mark.parametrize("verb", ["worker", "up"])
@pytest.mark.parametrize(
    ("option", "allowed"), [("--log-level", "debug, info, warning, error"), ("--log-format", "text, json")]
)
def test_log_option_that_is_invalid_names_what_is_allowed(cli: Cli, verb: str, option: str, allowed: str) -> None:
    del cli.env["ONESHOT_QUEUE_URL"]
    done = cli(verb, option, "loud")

    assert (done.code, done.out) == (2, b"")
    assert f"{option}: 'loud' must be one of {allowed}" in done.err


def test_a_worker_without_a_broker_exits_with_5(cli: Cli) -> None:
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
