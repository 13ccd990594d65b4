"""``ls``, ``show``, ``queues`` and ``workers``: every JSON field, and what is printed where."""

from __future__ import annotations

import os
import re
import socket

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli
from tests.support.waiting import wait_until

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


def test_the_history_says_what_happened_when_in_which_attempt_why_and_by_whom(served: Cli) -> None:
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


def test_what_a_waiting_job_does_not_have_yet_is_null(cli: Cli) -> None:
    job = cli.job(cli("enqueue", "true").line)

    absent = "name cause error reason retry_of worker host pid started_at ended_at last_output_at exit_code signal"
    absent += " time_limit_s interrupt_requested_at"
    assert {key: job[key] for key in absent.split()} == dict.fromkeys(absent.split())
    assert job["labels"] == {}
    assert job["output"] == {"bytes": 0, "dropped": 0}
    assert job["usage"] == {"cpu_user_s": None, "cpu_system_s": None, "max_rss_bytes": None}


@pytest.mark.parametrize(("count", "said"), [(1, "attempt 1"), (3, "attempts 1 to 3")])
def test_whose_output_was_dropped_is_said_by_show_and_by_logs(
    cli: Cli, pretender: PretendWorker, count: int, said: str
) -> None:
    job_id = cli("enqueue", "--retries", "5", "--retry-delay", "0s", "false").line
    for _ in range(count + 1):
        pretender.retry(pretender.claim(job_id), kept=32 * 1_048_576)

    assert f"dropped   the output of {said}\n" in cli("show", job_id).text
    assert cli.job(job_id)["outputs_dropped"] == count
    done = cli("logs", "--attempt", str(count), job_id)
    assert (done.code, done.out) == (2, b"")
    assert f"the output of attempt {count} of job {job_id} was dropped" in done.err
    assert cli("logs", "--attempt", str(count + 1), job_id).code == 0


def test_signal_error_and_dropped_bytes_are_shown(served: Cli, cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    pretender.finish(pretender.claim(job_id), JobState.FAILED, Cause.SIGNAL, signal=9, error="out of luck")

    job = cli.job(job_id)

    assert (job["signal"], job["exit_code"], job["error"]) == (9, None, "out of luck")
    text = cli("show", job_id).text
    assert "was ended by SIGKILL: out of luck" in text
    assert "CPU 0.25 s user, 0.12 s system; 1.0 MiB at most" in text


def test_show_for_people_tells_the_same(served: Cli) -> None:
    job_id = f"people-{os.urandom(4).hex()}"
    served("run", "--id", job_id, "-n", "nightly", "-l", "team=web", "--", "sh", "-c", "exit 3")

    text = served("show", job_id).text

    for expected in (job_id, "FAILED", "failed with exit code 3", "sh -c 'exit 3'", "nightly", "team=web", "history"):
        assert expected in text
    assert "\x1b" not in text


def test_ls_json_is_an_array_of_the_same_without_history(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line

    (form,) = cli("ls", "--json").form

    shown = cli.job(job_id)
    del shown["history"]
    assert form == shown


def test_ls_shows_the_newest_change_first_and_no_more_than_asked_for(cli: Cli) -> None:
    first, second, third = (cli("enqueue", "true").line for _ in range(3))
    cli("interrupt", first)

    def listed(*words: str) -> list[str]:
        return [form["id"] for form in cli("ls", "--json", *words).form]

    assert listed() == [first, third, second]
    assert listed("--limit", "2") == [first, third]
    assert cli("ls", "--json", "-q", "empty").form == []


def test_ls_filters_by_queue_state_and_label(cli: Cli) -> None:
    web = cli("enqueue", "-l", "team=web", "-l", "env=prod", "true").line
    other = cli("enqueue", "-q", "builds", "-l", "team=core", "true").line
    cli("interrupt", other)

    def listed(*words: str) -> set[str]:
        return {form["id"] for form in cli("ls", "--json", *words).form}

    assert listed() == {web, other}
    assert listed("-q", "builds") == {other}
    assert listed("-s", "CREATED") == {web}
    assert listed("-s", "created", "-s", "INTERRUPTED") == {web, other}
    assert listed("-l", "team=web", "-l", "env=prod") == {web}
    assert listed("-l", "team=web", "-l", "env=test") == set()


def test_ls_into_a_pipe_is_plain_columns_with_whole_ids_and_no_title(cli: Cli) -> None:
    job_id = cli("enqueue", "-n", "nightly", "--", "sh", "-c", "echo 'a  b'", "x" * 200).line

    line = cli("ls").line

    fields = line.split(None, 7)
    assert fields[:3] == [job_id, "default", "CREATED"]
    assert fields[4:] == ["-", "-", "nightly", f"""sh -c 'echo '"'"'a  b'"'"'' {"x" * 200}"""]
    assert "\t" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_ls_on_a_terminal_is_a_table_that_fits(cli: Cli, columns: int) -> None:
    job_id = cli("enqueue", "-q", "builds", "-n", "nightly", "--", "echo", "word " * 60).line
    cli("interrupt", cli("enqueue", "日本語" * 40).line)

    lines = cli.on_terminal("ls", columns=columns, env={"NO_COLOR": "1"}).done().text.splitlines()

    assert len(lines) == 3
    assert lines[0].split()[0] == "ID"
    assert "COMMAND" in lines[0]
    assert lines[2].startswith(job_id[:8])
    assert job_id not in lines[2]
    assert all(_columns(line) <= columns for line in lines)
    assert "INTERRUPTED" in lines[1]


def test_colours_are_for_terminals_that_want_them(cli: Cli) -> None:
    cli("enqueue", "true")

    assert "\x1b[34mCREATED" in cli.on_terminal("ls").done().text
    assert "\x1b" not in cli.on_terminal("ls", env={"NO_COLOR": "1"}).done().text
    assert "\x1b" not in cli.on_terminal("ls", env={"TERM": "dumb"}).done().text


def test_what_would_act_on_a_terminal_is_escaped_everywhere(cli: Cli) -> None:
    job_id = cli("enqueue", "echo", "\x1b]0;owned\x07", "\u202egnp.exe", b"\x9b31m").line
    cli("interrupt", "--reason", "\x1b[2J", job_id)

    for words in (["ls"], ["show", job_id]):
        for text in (cli(*words).text, cli.on_terminal(*words, columns=200, env={"NO_COLOR": "1"}).done().text):
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert "\\x1b]0;owned\\x07" in text
            assert "\\u202egnp.exe" in text
    assert cli.job(job_id)["command"][3] == "\\x9b31m"


def test_queues_counts_every_state_and_what_is_ready(cli: Cli, pretender: PretendWorker) -> None:
    waiting = [cli("enqueue", "true").line for _ in range(3)]
    pretender.claim(waiting[0])
    cli("interrupt", waiting[1])
    cli("enqueue", "-q", "builds", "true")

    forms = cli("queues", "--json").form

    none = dict.fromkeys(("CREATED", "RUNNING", "IDLE", "INTERRUPTED", "COMPLETED", "FAILED"), 0)
    assert forms == [
        {"queue": "builds", "states": none | {"CREATED": 1}, "ready": 1, "delayed": 0},
        {"queue": "default", "states": none | {"CREATED": 1, "RUNNING": 1, "INTERRUPTED": 1}, "ready": 1, "delayed": 0},
    ]
    assert cli("queues").text == "1  0  1  0  0  0  0  0  builds\n1  0  1  1  0  1  0  0  default\n"
    table = cli.on_terminal("queues", columns=40, env={"NO_COLOR": "1"}).done().text.splitlines()
    assert len(table) == 3
    assert all(len(line) <= 40 for line in table)


def test_workers_shows_who_lives_and_what_they_run(served: Cli) -> None:
    job_id = served("enqueue", "sleep", "60").line
    form = wait_until(lambda: served("workers", "--json").form[0], lambda form: job_id in form["running"])

    assert (
        list(form)
        == "name id host pid queues concurrency running started_at seen_at supervisor process processes layer".split()
    )
    assert (form["process"], form["processes"], len(form["supervisor"])) == (1, 1, 32)
    assert form["layer"] in ("cgroup", "subreaper")
    assert form["host"] == socket.gethostname()
    assert form["queues"] == ["default"]
    assert form["concurrency"] == 4
    assert TIME.fullmatch(form["started_at"])
    assert TIME.fullmatch(form["seen_at"])
    assert f"{len(form['running'])}/4" in served("workers").line
    assert "BUSY" in served.on_terminal("workers").done().text
    served("interrupt", "--now", job_id)


def test_empty_lists_are_empty_and_say_so_on_a_terminal(cli: Cli) -> None:
    for verb, said in (("ls", "no jobs"), ("queues", "no queue has had a job"), ("workers", "no live worker")):
        assert cli(verb).out == b""
        assert cli(verb, "--json").form == []
        assert said in cli.on_terminal(verb).done().text


def _columns(line: str) -> int:
    return sum(2 if each > "\u2e80" else 1 for each in line)
