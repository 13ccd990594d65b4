"""``enqueue``: what is stored and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Cli


def test_enqueue_prints_only_the_id(cli: Cli) -> None:
    done = cli("enqueue", "true")

    assert cli.job(done.line)["state"] == "CREATED"
    assert done.err == ""


def test_json_says_whether_the_job_was_created(cli: Cli) -> None:
    first = cli("enqueue", "--json", "--id", "nightly", "true")
    second = cli("enqueue", "--json", "--id", "nightly", "true")

    assert first.json == {"id": "nightly", "created": True}
    assert second.json == {"id": "nightly", "created": False}


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["grep", "-n", "foo", "f"], ["grep", "-n", "foo", "f"]),
        (["--", "grep", "-n", "foo"], ["grep", "-n", "foo"]),
        (["-q", "default", "echo", "--", "-q", "x"], ["echo", "--", "-q", "x"]),
        (["--", "--json"], ["--json"]),
        (["echo", "", "a b"], ["echo", "", "a b"]),
        (["--shell", "make && ./deploy"], ["/bin/sh", "-c", "make && ./deploy"]),
        (["echo", "--help"], ["echo", "--help"]),
        (["printf", b"\xff-\xc3\xa9"], ["printf", "\\xff-é"]),
    ],
    ids=str,
)
def test_options_end_at_the_first_word_of_the_command(cli: Cli, words: list[str | bytes], command: list[str]) -> None:
    job_id = cli("enqueue", *words).line

    assert cli.job(job_id)["command"] == command


def test_every_option_is_stored_with_the_job(cli: Cli, tmp_path: Path) -> None:
    words = ["-q", "builds", "-n", "night.ly", "-l", "team=web", "-l", "why=a=b", "-p", "high", "-C", "/somewhere"]
    words += ["--time-limit", "1h30m", "--idle-after", "5m", "--idle-timeout", "600", "--grace", "1.5", "--id", "it"]

    cli("enqueue", *words, "--", "true", cwd=tmp_path)

    job = cli.job("it")
    assert {key: job[key] for key in ("queue", "name", "labels", "priority", "cwd")} == {
        "queue": "builds",
        "name": "night.ly",
        "labels": {"team": "web", "why": "a=b"},
        "priority": "high",
        "cwd": "/somewhere",
    }
    assert (job["time_limit_s"], job["idle_after_s"], job["grace_s"]) == (5400.0, 300.0, 1.5)


def test_zero_disables_a_limit(cli: Cli) -> None:
    job = cli.job(cli("enqueue", "--time-limit", "0", "--idle-after", "0s", "true").line)

    assert (job["time_limit_s"], job["idle_after_s"]) == (None, None)


def test_defaults_of_directory_idle_time_and_grace(cli: Cli, tmp_path: Path) -> None:
    job = cli.job(cli("enqueue", "true", cwd=tmp_path).line)

    assert (job["cwd"], job["idle_after_s"], job["grace_s"]) == (str(tmp_path), 60.0, 10.0)
