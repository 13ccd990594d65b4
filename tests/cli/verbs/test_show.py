"""``show``: every JSON field, and the same facts for people."""

from __future__ import annotations

import os
import re
import socket

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
KEYS = (
    "id queue name state cause error reason attempt command cwd labels priority retry_of worker host pid created_at "
    "due_at expires_at started_at ended_at last_output_at exit_code signal time_limit_s idle_after_s grace_s "
    "retries exclusive confirmed interrupting "
    "interrupt_requested_at output outputs_dropped usage history"
).split()


def test_show_has_every_field_of_a_job_that_ended(served: Cli) -> None:
    job_id = f"whole-{os.urandom(4).hex()}"
    words = ["-n", "whole", "-l", "a=b", "-C", "/tmp", "--time-limit", "60", "--id", job_id]
    served("run", *words, "sh", "-c", "echo hi; exit 3")

    job = served.job(job_id)

    assert list(job) == KEYS
    for key in ("created_at", "started_at", "ended_at", "last_output_at"):
        assert TIME.fullmatch(job[key]), key
    assert job["created_at"] <= job["started_at"] <= job["ended_at"]
    assert job["host"] == socket.gethostname()
    assert job["pid"] > 0
    assert job["worker"]
    usage = job["usage"]
    assert list(usage) == ["cpu_user_s", "cpu_system_s", "max_rss_bytes"]
    assert usage["max_rss_bytes"] > 0
    assert usage["cpu_user_s"] >= 0 <= usage["cpu_system_s"]
    known = {
        "id": job_id,
        "queue": "default",
        "name": "whole",
        "state": "FAILED",
        "cause": "exit",
        "error": None,
        "reason": None,
        "attempt": 1,
        "command": ["sh", "-c", "echo hi; exit 3"],
        "cwd": "/tmp",
        "labels": {"a": "b"},
        "priority": "normal",
        "retry_of": None,
        "exit_code": 3,
        "signal": None,
        "time_limit_s": 60.0,
        "idle_after_s": 60.0,
        "grace_s": 10.0,
        "interrupting": False,
        "interrupt_requested_at": None,
        "output": {"bytes": 3, "dropped": 0},
        "outputs_dropped": 0,
    }
    assert {key: job[key] for key in known} == known


def test_history_has_a_row_for_every_transition(served: Cli) -> None:
    job_id = f"history-{os.urandom(4).hex()}"
    served("run", "--id", job_id, "sh", "-c", "exit 3")

    history = served.job(job_id)["history"]

    assert [(row["state"], row["attempt"], row["cause"]) for row in history] == [
        ("CREATED", 1, None),
        ("RUNNING", 1, None),
        ("FAILED", 1, "exit"),
    ]
    assert all(list(row) == ["state", "at", "attempt", "cause", "by", "detail"] for row in history)
    assert all(TIME.fullmatch(row["at"]) for row in history)
    assert history[0]["by"].endswith(f"@{socket.gethostname()}")
    assert history[1]["by"] == history[2]["by"] == served.job(job_id)["worker"]


def test_absent_fields_of_a_waiting_job_are_null(cli: Cli) -> None:
    job = cli.job(cli("enqueue", "true").line)

    absent = "name cause error reason retry_of worker host pid started_at ended_at last_output_at exit_code signal"
    absent += " time_limit_s interrupt_requested_at"
    assert {key: job[key] for key in absent.split()} == dict.fromkeys(absent.split())
    assert job["labels"] == {}
    assert job["output"] == {"bytes": 0, "dropped": 0}
    assert job["usage"] == {"cpu_user_s": None, "cpu_system_s": None, "max_rss_bytes": None}


@pytest.mark.thorough
@pytest.mark.parametrize(("count", "message"), [(1, "attempt 1"), (3, "attempts 1 to 3")])
def test_show_and_logs_name_attempts_whose_output_was_dropped(
    cli: Cli, pretender: PretendWorker, count: int, message: str
) -> None:
    job_id = cli("enqueue", "--retries", "5", "--retry-delay", "0s", "false").line
    for _ in range(count + 1):
        pretender.retry(pretender.claim(job_id), kept=32 * 1_048_576)

    assert f"dropped   the output of {message}\n" in cli("show", job_id).text
    assert cli.job(job_id)["outputs_dropped"] == count
    done = cli("logs", "--attempt", str(count), job_id)
    assert (done.code, done.out) == (2, b"")
    assert f"the output of attempt {count} of job {job_id} was dropped" in done.err
    assert cli("logs", "--attempt", str(count + 1), job_id).code == 0


def test_signal_error_and_usage_are_shown(served: Cli, cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    pretender.finish(pretender.claim(job_id), JobState.FAILED, Cause.SIGNAL, signal=9, error="out of luck")

    job = cli.job(job_id)

    assert (job["signal"], job["exit_code"], job["error"]) == (9, None, "out of luck")
    text = cli("show", job_id).text
    assert "was killed by SIGKILL: out of luck" in text
    assert "CPU 0.25 s user, 0.12 s system; 1.0 MiB peak memory" in text


def test_text_of_show_has_the_same_facts(served: Cli) -> None:
    job_id = f"people-{os.urandom(4).hex()}"
    served("run", "--id", job_id, "-n", "nightly", "-l", "team=web", "--", "sh", "-c", "exit 3")

    text = served("show", job_id).text

    for expected in (job_id, "FAILED", "failed with exit code 3", "sh -c 'exit 3'", "nightly", "team=web", "history"):
        assert expected in text
    assert "\x1b" not in text
