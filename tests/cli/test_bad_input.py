"""Invalid input: a clear error, exit code 2, and nothing in Redis."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.command_line import PROGRAM, Cli
from tests.support.limits import limit_s
from tests.support.servers import Server, ServerProcess

_LONG = "x" * 131_000
"""Close to the kernel's limit for one argument."""


@pytest.fixture
def keys(server: Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


def _count(keys: redis.Redis, namespace: str) -> int:
    # Not DBSIZE: other tests share the server.
    return sum(1 for _ in keys.scan_iter(match=f"*{namespace}*"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["enqueue"], "ARGV"),
        (["enqueue", ""], "command"),
        (["enqueue", *["x" * 100_000] * 3], "command"),
        (["enqueue", "-n", "no spaces", "true"], "name"),
        (["enqueue", "-n", "x" * 65, "true"], "name"),
        (["enqueue", "-q", "no/slashes", "true"], "queue"),
        (["enqueue", "-q", "", "true"], "queue"),
        (["enqueue", "--id", "with space", "true"], "id"),
        (["enqueue", "--id", "last", "true"], "id"),
        (["enqueue", "--time-limit", "-5", "true"], "--time-limit"),
        (["enqueue", "--time-limit", "nan", "true"], "--time-limit"),
        (["enqueue", "--time-limit", "inf", "true"], "--time-limit"),
        (["enqueue", "--time-limit", "9" * 400, "true"], "--time-limit"),
        (["enqueue", "--time-limit", "1000d", "true"], "--time-limit"),
        (["enqueue", "--idle-after", "soon", "true"], "--idle-after"),
        (["enqueue", "--idle-timeout", "1h 30m", "true"], "--idle-timeout"),
        (["enqueue", "--grace", "", "true"], "--grace"),
        (["enqueue", "-l", "nothing", "true"], "--label"),
        (["enqueue", "-l", "=value", "true"], "--label"),
        (["enqueue", "-l", "bad key=value", "true"], "label"),
        (["enqueue", "-l", "k=\x1b[31m", "true"], "label"),
        (["enqueue", "-p", "urgent", "true"], "priority"),
        (["enqueue", "-e", "SURELY_NOT_SET", "true"], "SURELY_NOT_SET is not set"),
        (["enqueue", "-e", "=value", "true"], "env"),
        (["enqueue", "-e", f"LONG={_LONG}", "-e", "MORE=" + "x" * 100, "true"], "env"),
        (["enqueue", "-e", "ONESHOT_JOB_ID=x", "true"], "ONESHOT_"),
        (["enqueue", "-C", "x" * 5000, "true"], "cwd"),
        (["enqueue", "--stdin", "/nonexistent", "true"], "--stdin"),
        (["enqueue", "--stdin", "/", "true"], "--stdin"),
        (["enqueue", "--stdin", "/dev/zero", "true"], "stdin"),
        (["enqueue", "--shell", "one", "two"], "--shell"),
        (["enqueue", "--success-codes", "0,256", "true"], "--success-codes"),
        (["enqueue", "--success-codes", "", "true"], "--success-codes"),
        (["enqueue", "--no-such-option", "true"], "--no-such-option"),
        (["enqueue", "--name"], "--name"),
        (["interrupt"], "give job ids"),
        (["interrupt", "--all"], "-q QUEUE"),
        (["interrupt", "-q", "default", "--all"], "--yes"),
        (["interrupt", "-q", "default", "--all", "--yes", "some-id"], "not both"),
        (["interrupt", "--now", "--grace", "5", "some-id"], "--now"),
        (["interrupt", "--timeout", "later", "some-id"], "--timeout"),
        (["ls", "-s", "SLEEPING"], "--state"),
        (["ls", "-l", "nothing"], "--label"),
        (["ls", "--limit", "0"], "--limit"),
        (["ls", "--limit", "many"], "--limit"),
        (["ls", "-q", "no/slashes"], "queue"),
        (["logs", "-n", "-3", "some-id"], "--tail"),
        (["worker", "-c", "0"], "--concurrency"),
        (["worker", "-c", "four"], "--concurrency"),
        (["worker", "-q", "no/slashes"], "queue"),
        (["worker", "--name", "no spaces"], "--name"),
        (["worker", "--drain-timeout", "never"], "--drain-timeout"),
        (["--url", "redis://localhost", "up"], "local broker"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_invalid_input_is_rejected_by_name_and_stores_nothing(
    cli: Cli, keys: redis.Redis, words: list[str], complaint: str
) -> None:
    done = cli(*words)

    assert done.code == 2
    assert complaint in done.err
    assert done.err.startswith("oneshot-queue: ")
    assert done.out == b""
    assert _count(keys, cli.namespace) == 0


def test_a_misspelt_setting_is_rejected(cli: Cli, keys: redis.Redis) -> None:
    done = cli("enqueue", "true", env={"ONESHOT_QUEUE_LEASE_SEC": "30"})

    assert done.code == 2
    assert "did you mean ONESHOT_QUEUE_LEASE_S?" in done.err
    assert _count(keys, cli.namespace) == 0


def test_stdin_over_a_mebibyte_is_rejected(cli: Cli, keys: redis.Redis) -> None:
    assert cli("enqueue", "--stdin", "-", "cat", stdin=b"x" * 1_048_577).code == 2
    assert _count(keys, cli.namespace) == 0
    assert cli("enqueue", "--stdin", "-", "cat", stdin=b"x" * 1_048_576).code == 0


def test_a_deleted_directory_is_reported(cli: Cli, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])"

    def enqueue(*words: str) -> subprocess.CompletedProcess[str]:
        gone.mkdir()
        argv = [sys.executable, "-P", "-c", script, *PROGRAM, "enqueue", *words, "true"]
        return subprocess.run(argv, cwd=gone, env=cli.env, capture_output=True, text=True, check=False)

    without, relative, absolute = enqueue(), enqueue("-C", "below"), enqueue("-C", "/")

    assert (without.returncode, relative.returncode, absolute.returncode) == (2, 2, 0)
    assert "give one with -C" in without.stderr


def test_a_full_queue_exits_with_5(cli: Cli) -> None:
    limits = {"ONESHOT_QUEUE_MAX_QUEUE_LENGTH": "1"}
    cli("enqueue", "true", env=limits)

    done = cli("enqueue", "--id", "too-many", "true", env=limits)

    assert done.code == 5
    assert "queue default is full" in done.err
    assert cli("show", "too-many").code == 3


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis://127.0.0.1:1", "is it running"),
        ("unix:///nonexistent/socket", "is it running"),
        ("http://example.org", "write redis://"),
        ("redis://host:port", ""),
        ("localhost:6379", "write redis://"),
        ("", "write redis://"),
    ],
)
@pytest.mark.parametrize("verb", [["enqueue", "true"], ["ls"]], ids=lambda words: words[0])
def test_a_wrong_url_exits_with_5_and_says_what_to_do(cli: Cli, url: str, advice: str, verb: list[str]) -> None:
    done = cli("--url", url, *verb)

    assert done.code == 5
    assert advice in done.err


@pytest.mark.thorough
def test_a_broker_that_does_not_answer_fails_within_five_seconds(cli: Cli) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()

        done = cli("--url", f"redis://127.0.0.1:{silent.getsockname()[1]}", "ls")

    assert done.code == 5
    assert "no answer within 4 s" in done.err
    assert time.monotonic() - began < limit_s(8)  # 5 s on an idle machine


def test_a_refused_login_exits_with_5_and_hides_the_password(fresh_server: ServerProcess, cli: Cli) -> None:
    if not fresh_server.is_real:
        pytest.skip("fakeredis accepts every login")
    with redis.Redis.from_url(fresh_server.url) as client:
        client.config_set("requirepass", "correct")
    address = fresh_server.url.removeprefix("unix://")

    wrong = cli("--url", f"unix://:hunter2@{address}", "enqueue", "true")
    without = cli("--url", f"unix://{address}", "enqueue", "true")

    assert (wrong.code, without.code) == (5, 5)
    assert "check user and password" in wrong.err
    assert "hunter2" not in wrong.err
    assert cli("--url", f"unix://:correct@{address}", "enqueue", "true").code == 0


@pytest.mark.thorough
def test_no_such_job_exits_with_3(cli: Cli) -> None:
    for words in (["show"], ["logs"], ["interrupt"], ["retry"]):
        for job_id in ("nosuchjob", "no", "not/a/name", "last"):
            done = cli(*words, job_id)

            assert done.code == 3, (words, job_id, done)
            assert "no " in done.err


@pytest.mark.thorough
def test_an_ambiguous_prefix_exits_with_2_and_names_the_candidates(cli: Cli) -> None:
    for job_id in ("abcd-one", "abcd-two"):
        cli("enqueue", "--id", job_id, "true")

    done = cli("interrupt", "abcd")

    assert done.code == 2
    assert "abcd-one, abcd-two" in done.err
    assert cli.job("abcd-one")["state"] == "CREATED"
    assert cli("show", "abc").code == 3
    assert cli("show", "abcd-o").code == 0


def test_a_prefix_is_searched_in_the_named_queue_first(cli: Cli) -> None:
    cli("enqueue", "-q", "alpha", "--id", "samesame", "echo", "alpha")
    cli("enqueue", "-q", "beta", "--id", "samesame", "echo", "beta")

    assert cli("show", "-q", "beta", "--json", "samesame").json["queue"] == "beta"
    assert cli("show", "-q", "alpha", "--json", "samesame").json["queue"] == "alpha"


def test_an_id_of_control_characters_is_escaped_in_the_message(cli: Cli) -> None:
    done = cli("show", "\x1b]0;owned\x07")

    assert done.code == 3
    assert "\x1b" not in done.err
    assert os.linesep in done.err
