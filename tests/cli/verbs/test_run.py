"""``run``: output, exit codes and surroundings as if the command ran here."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from oneshot_queue.store.claims import Claim
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli
from tests.support.waiting import wait_until


def _claimed(cli: Cli, pretender: PretendWorker, job_id: str) -> Claim | None:
    return pretender.claim(job_id) if cli("show", job_id).code == 0 else None


def test_each_stream_is_passed_on_byte_for_byte(served: Cli, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 40)

    done = served("run", "sh", "-c", f"cat {tmp_path}/bytes; printf 'only \\377 err' >&2")

    assert done.code == 0
    assert done.out == bytes(range(256)) * 40
    assert done.err == "only \\xff err"


def test_pty_gives_the_job_a_terminal_without_stdin(served: Cli) -> None:
    script = "test -t 1 && test -t 2 && ! test -t 0 && echo out && echo err >&2"

    done = served("run", "--pty", "--", "sh", "-c", script)

    assert (done.code, done.out) == (0, b"out\nerr\n")


def test_output_is_printed_while_the_job_runs(served: Cli, tmp_path: Path) -> None:
    running = served.start(
        "run", "sh", "-c", f"echo first; until test -e {tmp_path}/go; do sleep 0.01; done; echo last"
    )

    running.until("first\n", on="out")
    (tmp_path / "go").touch()

    assert running.done().out == b"first\nlast\n"


def test_large_output_is_complete_and_in_order(served: Cli) -> None:
    done = served("run", "seq", "1", "100000")

    assert done.out == b"".join(b"%d\n" % number for number in range(1, 100_001))
    assert done.err == ""


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["true"], 0, ""),
        (["sh", "-c", "exit 3"], 3, ""),
        (["--success-codes", "0,3", "--", "sh", "-c", "exit 3"], 0, ""),
        (["--success-codes", "3", "--", "true"], 1, ""),
        (["sh", "-c", "kill -KILL $$"], 137, "was killed by SIGKILL"),
        (["--time-limit", "0.2s", "sleep", "60"], 124, "reached its time limit of 0.2 s"),
        (["--idle-timeout", "0.2s", "sleep", "60"], 124, "was idle for too long (0.2 s)"),
        (["/nonexistent/program"], 127, "/nonexistent/program"),
        (["no-such-program-anywhere"], 127, "no-such-program-anywhere"),
        (["/etc/passwd"], 126, "no permission"),
        (["-C", "/nonexistent", "true"], 126, "/nonexistent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_code_is_that_of_the_job(served: Cli, words: list[str], code: int, reason: str) -> None:
    done = served("run", *words)

    assert done.code == code
    assert reason in done.err
    assert bool(done.err) == bool(reason)


def test_a_job_interrupted_elsewhere_exits_with_130(served: Cli) -> None:
    running = served.start("run", "--id", f"elsewhere-{os.urandom(4).hex()}", "sh", "-c", "echo started; sleep 60")
    running.until("started", on="out")

    assert served("interrupt", "last", "--reason", "not needed").code == 0

    done = running.done()
    assert done.code == 130
    assert "was interrupted: not needed" in done.err


def test_a_lost_worker_exits_with_75(cli: Cli, pretender: PretendWorker) -> None:
    running = cli.start("run", "--id", "lost-one", "true")
    claim = wait_until(lambda: _claimed(cli, pretender, "lost-one"))
    assert claim is not None

    pretender.finish(claim, JobState.FAILED, Cause.WORKER_LOST)

    done = running.done()
    assert done.code == 75
    assert "was lost with its worker" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "--no-such-option", "true"],
        ["run", "--grace", "soon", "true"],
        ["run", "-n", "no spaces", "true"],
        ["--url", "redis://127.0.0.1:1", "run", "true"],
        ["--url", "http://example.org", "run", "true"],
    ],
    ids=" ".join,
)
def test_own_errors_exit_with_125_and_a_message(cli: Cli, words: list[str]) -> None:
    done = cli(*words)

    assert done.code == 125
    assert done.err.startswith("oneshot-queue: ")
    assert done.out == b""


def test_stdin_of_the_job_is_that_of_the_option(served: Cli, tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(b"from \xff a file")

    assert served("run", "--stdin", str(tmp_path / "given"), "cat").out == b"from \xff a file"
    assert served("run", "--stdin", "-", "cat", stdin=b"from a pipe").out == b"from a pipe"
    assert served("run", "cat", stdin=b"not passed on").out == b""


def test_a_job_runs_in_the_directory_of_the_caller_by_default(served: Cli, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()

    assert served("run", "pwd", cwd=tmp_path).text == f"{tmp_path}\n"
    assert served("run", "-C", "below", "pwd", cwd=tmp_path).text == f"{tmp_path}/below\n"
    assert served("run", "-C", "/", "pwd", cwd=tmp_path).text == "/\n"


def test_arguments_that_are_not_utf8_are_passed_unchanged_in_any_locale(served: Cli) -> None:
    for locale in ("C.UTF-8", "C", "POSIX"):
        done = served("run", "printf", "%s", b"\xff\xfe-\xc3\xa9", env={"LC_ALL": locale})

        assert done.out == b"\xff\xfe-\xc3\xa9", locale


def test_variables_are_set_or_copied_byte_for_byte(served: Cli) -> None:
    done = served(
        "run", "-e", "GIVEN=a=b", "-e", "COPIED", "--shell", 'printf %s "$GIVEN $COPIED"', env={"COPIED": "x\udcff"}
    )

    assert done.out == b"a=b x\xff"


def test_reusing_an_id_follows_the_existing_job(served: Cli) -> None:
    job_id = f"same-{os.urandom(4).hex()}"
    served("run", "--id", job_id, "echo", "one")

    done = served("run", "--id", job_id, "echo", "another")

    assert done.out == b"one\n"
    assert "already exists" in done.err


def test_a_closed_reader_ends_the_job_quietly(served: Cli) -> None:
    job_id = f"head-{os.urandom(4).hex()}"
    reader, writer = os.pipe()
    running = served.start("run", "--id", job_id, "yes", stdout=writer)
    os.close(writer)
    assert os.read(reader, 2) == b"y\n"

    os.close(reader)

    done = running.done()
    assert done.code == 128 + signal.SIGPIPE
    assert done.err == ""
    assert served("wait", job_id).code == 130
    assert served.job(job_id)["reason"] == "the reader of its output closed it"
