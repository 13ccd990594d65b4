"""``enqueue`` and ``retry``: what is stored, what is printed, and what ``last`` means afterwards."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.servers import Server


def test_enqueue_prints_the_id_alone(cli: Cli) -> None:
    done = cli("enqueue", "true")

    assert cli.job(done.line)["state"] == "CREATED"
    assert done.err == ""


def test_json_says_whether_the_job_was_created(cli: Cli) -> None:
    first = cli("enqueue", "--json", "--id", "nightly", "true")
    second = cli("enqueue", "--json", "--id", "nightly", "true")

    assert first.form == {"id": "nightly", "created": True}
    assert second.form == {"id": "nightly", "created": False}


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
def test_our_options_end_at_the_first_word_of_the_command(
    cli: Cli, words: list[str | bytes], command: list[str]
) -> None:
    job_id = cli("enqueue", *words).line

    assert cli.job(job_id)["command"] == command


def test_every_option_arrives_in_the_job(cli: Cli, tmp_path: Path) -> None:
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


def test_zero_switches_a_limit_off(cli: Cli) -> None:
    job = cli.job(cli("enqueue", "--time-limit", "0", "--idle-after", "0s", "true").line)

    assert (job["time_limit_s"], job["idle_after_s"]) == (None, None)


def test_defaults_are_the_callers_directory_sixty_seconds_of_silence_and_ten_of_grace(cli: Cli, tmp_path: Path) -> None:
    job = cli.job(cli("enqueue", "true", cwd=tmp_path).line)

    assert (job["cwd"], job["idle_after_s"], job["grace_s"]) == (str(tmp_path), 60.0, 10.0)


def test_a_url_may_stand_before_or_after_the_verb_and_wins_over_the_environment(cli: Cli, server: Server) -> None:
    nowhere = {"ONESHOT_QUEUE_URL": "redis://127.0.0.1:1"}

    before = cli("--url", server.url, "enqueue", "true", env=nowhere).line
    after = cli("enqueue", "--url", server.url, "true", env=nowhere).line

    assert {job["id"] for job in cli("ls", "--json").form} == {before, after}


def test_without_a_url_the_local_broker_is_used(local_cli: Cli) -> None:
    job_id = local_cli("enqueue", "true").line

    assert local_cli.job(job_id)["state"] == "CREATED"
    assert local_cli("broker", "status").code == 0


def test_last_is_the_job_that_was_enqueued_last_and_its_queue(cli: Cli) -> None:
    # The same id in two queues is two jobs; a search alone would find the wrong one.
    cli("enqueue", "-q", "alpha", "--id", "nightly", "echo", "alpha")
    cli("enqueue", "-q", "beta", "--id", "nightly", "echo", "beta")

    assert cli.job("last")["command"] == ["echo", "beta"]


def test_last_is_kept_for_each_broker_and_is_the_same_whatever_the_password(
    cli: Cli, server: Server, tmp_path: Path
) -> None:
    job_id = cli("enqueue", "true").line

    other = cli("show", "last", env={"ONESHOT_QUEUE_NAMESPACE": f"{cli.namespace}-2"})

    assert cli.job("last")["id"] == job_id
    assert other.code == 3
    assert "there is no last job" in other.err


def test_what_last_stands_for_is_written_privately_and_without_the_password(cli: Cli, server: Server) -> None:
    cli("enqueue", "true")

    folder = cli.state / "oneshot-queue" / "last"
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_state_folder_that_cannot_be_written_harms_nothing_else(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = cli("enqueue", "true", env={"XDG_STATE_HOME": str(tmp_path / "file")})

    assert done.code == 0
    assert cli.job(done.line)["state"] == "CREATED"
    assert "last job" in done.err


def test_the_want_of_a_worker_is_said_on_a_terminal(cli: Cli) -> None:
    done = cli.on_terminal("enqueue", "-q", "builds", "true").done()

    assert done.code == 0
    assert (
        "no live worker on queue builds, so the job waits; start one with: oneshot-queue worker -q builds" in done.text
    )


def test_with_a_live_worker_nothing_is_said_on_a_terminal(served: Cli) -> None:
    done = served.on_terminal("enqueue", "true").done()

    assert done.text.count("\n") == 1


def test_how_to_start_a_worker_names_the_broker_and_hides_its_password(cli: Cli, server: Server) -> None:
    done = cli.on_terminal("--url", server.url, "enqueue", "true").done()

    assert f"oneshot-queue --url {server.url} worker -q default" in done.text


def test_retry_enqueues_the_same_job_again_and_prints_its_id(served: Cli) -> None:
    first = f"first-{os.urandom(4).hex()}"
    served("run", "--id", first, "-n", "twice", "-l", "k=v", "--stdin", "-", "cat", stdin=b"again and again")

    done = served("retry", first)

    assert served("wait", done.line).code == 0
    again = served.job("last")
    assert again["id"] == done.line
    assert (again["retry_of"], again["name"], again["labels"]) == (first, "twice", {"k": "v"})
    assert served("logs", done.line).out == b"again and again"


def test_retry_of_a_job_in_another_queue_stays_in_that_queue(cli: Cli) -> None:
    job_id = cli("enqueue", "-q", "builds", "true").line

    assert cli.job(cli("retry", job_id).line)["queue"] == "builds"
