"""``run``: as if the command ran here."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from oneshot_queue.store.claims import Claim
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import PROGRAM, Cli
from tests.support.leftovers import is_alive
from tests.support.servers import Server
from tests.support.waiting import LIMIT_S, wait_until


def test_each_stream_of_the_job_comes_out_of_its_own_descriptor_byte_for_byte(served: Cli, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 40)

    done = served("run", "sh", "-c", f"cat {tmp_path}/bytes; printf 'only \\377 err' >&2")

    assert done.code == 0
    assert done.out == bytes(range(256)) * 40
    assert done.err == "only \\xff err"


def test_a_job_may_write_to_a_terminal(served: Cli) -> None:
    script = "test -t 1 && test -t 2 && ! test -t 0 && echo out && echo err >&2"

    done = served("run", "--pty", "--", "sh", "-c", script)

    assert (done.code, done.out) == (0, b"out\nerr\n")


def test_output_comes_while_the_job_still_runs(served: Cli, tmp_path: Path) -> None:
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
        (["sh", "-c", "kill -KILL $$"], 137, "was ended by SIGKILL"),
        (["--time-limit", "0.2s", "sleep", "60"], 124, "reached its time limit of 0.2 s"),
        (["--idle-timeout", "0.2s", "sleep", "60"], 124, "was silent for too long (0.2 s)"),
        (["/nonexistent/program"], 127, "/nonexistent/program"),
        (["no-such-program-anywhere"], 127, "no-such-program-anywhere"),
        (["/etc/passwd"], 126, "no permission"),
        (["-C", "/nonexistent", "true"], 126, "/nonexistent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_exit_code_is_the_jobs(served: Cli, words: list[str], code: int, reason: str) -> None:
    done = served("run", *words)

    assert done.code == code
    assert reason in done.err
    assert bool(done.err) == bool(reason)


def test_a_job_that_was_interrupted_elsewhere_exits_with_130(served: Cli) -> None:
    running = served.start("run", "--id", f"elsewhere-{os.urandom(4).hex()}", "sh", "-c", "echo started; sleep 60")
    running.until("started", on="out")

    assert served("interrupt", "last", "--reason", "not needed").code == 0

    done = running.done()
    assert done.code == 130
    assert "was interrupted: not needed" in done.err


def test_a_job_whose_worker_was_lost_exits_with_75(cli: Cli, pretender: PretendWorker) -> None:
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
def test_whatever_is_ours_exits_with_125_and_says_why(cli: Cli, words: list[str]) -> None:
    done = cli(*words)

    assert done.code == 125
    assert done.err.startswith("oneshot-queue: ")
    assert done.out == b""


def test_stdin_of_the_job_is_what_was_given(served: Cli, tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(b"from \xff a file")

    assert served("run", "--stdin", str(tmp_path / "given"), "cat").out == b"from \xff a file"
    assert served("run", "--stdin", "-", "cat", stdin=b"from a pipe").out == b"from a pipe"
    assert served("run", "cat", stdin=b"not passed on").out == b""


def test_a_job_runs_in_the_callers_directory_unless_told_otherwise(served: Cli, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()

    assert served("run", "pwd", cwd=tmp_path).text == f"{tmp_path}\n"
    assert served("run", "-C", "below", "pwd", cwd=tmp_path).text == f"{tmp_path}/below\n"
    assert served("run", "-C", "/", "pwd", cwd=tmp_path).text == "/\n"


def test_an_argument_that_is_no_utf8_arrives_byte_for_byte_in_any_locale(served: Cli) -> None:
    for locale in ("C.UTF-8", "C", "POSIX"):
        done = served("run", "printf", "%s", b"\xff\xfe-\xc3\xa9", env={"LC_ALL": locale})

        assert done.out == b"\xff\xfe-\xc3\xa9", locale


def test_a_variable_is_given_or_copied_byte_for_byte(served: Cli) -> None:
    done = served(
        "run", "-e", "GIVEN=a=b", "-e", "COPIED", "--shell", 'printf %s "$GIVEN $COPIED"', env={"COPIED": "x\udcff"}
    )

    assert done.out == b"a=b x\xff"


def test_same_id_twice_follows_the_job_that_is_there(served: Cli) -> None:
    job_id = f"same-{os.urandom(4).hex()}"
    served("run", "--id", job_id, "echo", "one")

    done = served("run", "--id", job_id, "echo", "another")

    assert done.out == b"one\n"
    assert "was there already" in done.err


def test_who_reads_only_the_beginning_ends_the_job_quietly(served: Cli) -> None:
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
    assert served.job(job_id)["reason"] == "nobody reads its output any more"


def test_ctrl_c_once_interrupts_the_job_and_shows_what_it_still_says(served: Cli) -> None:
    job_id = f"once-{os.urandom(4).hex()}"
    script = "trap 'echo tidying up; exit 0' TERM; echo started; while :; do sleep 0.01; done"
    terminal = served.on_terminal("run", "--id", job_id, "sh", "-c", script)
    terminal.until("started")

    terminal.type(b"\x03")

    done = terminal.done()
    assert done.code == 130
    assert f"interrupting job {job_id}; once more kills it" in done.text
    assert "tidying up" in done.text
    assert served.job(job_id)["state"] == "INTERRUPTED"
    assert served.job(job_id)["reason"] == "Ctrl-C in oneshot-queue run"


def test_ctrl_c_twice_kills_the_job(served: Cli) -> None:
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
def test_a_signal_to_run_interrupts_the_job(served: Cli, number: signal.Signals) -> None:
    running = served.start("run", "sh", "-c", "echo started; sleep 60")
    running.until("started", on="out")

    running.signal(number)

    done = running.done()
    assert done.code == 130
    assert "interrupting job" in done.err


def test_ctrl_c_while_the_job_still_waits_ends_it_without_a_worker(cli: Cli) -> None:
    running = cli.start("run", "--id", "waits", "true")
    running.until("no live worker on queue default")

    running.signal(signal.SIGINT)

    assert running.done().code == 130
    assert cli.job("waits")["state"] == "INTERRUPTED"


def test_ctrl_c_is_heard_while_nobody_reads_our_output(served: Cli) -> None:
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


def test_the_third_ctrl_c_stops_waiting_for_a_worker_that_does_not_answer(cli: Cli, pretender: PretendWorker) -> None:
    running = cli.start("run", "--id", "deaf", "true")
    wait_until(lambda: _claimed(cli, pretender, "deaf"))

    running.signal(signal.SIGINT)
    running.until("interrupting job")
    running.signal(signal.SIGINT)
    running.until("killing job")
    running.signal(signal.SIGINT)

    done = running.done()
    assert done.code == 130
    assert "no longer waiting for job deaf, whose interrupt is on record" in done.err
    assert cli.job("deaf")["interrupting"] is True


def test_one_signal_is_enough_where_the_worker_gives_no_sign_of_life(cli: Cli, server: Server) -> None:
    with PretendWorker(server.url, cli.namespace, is_seen=False) as silent:
        running = cli.start("run", "--id", "lost", "true")
        wait_until(lambda: _claimed(cli, silent, "lost"))

        running.signal(signal.SIGTERM)

        done = running.done()
    assert done.code == 125
    assert "the interrupt of job lost is recorded, but the job is still RUNNING" in done.err
    assert "its worker gives no sign of life" in done.err


def test_a_signal_that_was_ignored_stays_ignored(served: Cli, tmp_path: Path) -> None:
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

    assert shell.wait(LIMIT_S) == 0
    shell.stdout.close()


def test_a_worker_that_falls_silent_is_named(cli: Cli, server: Server) -> None:
    with PretendWorker(server.url, cli.namespace, is_seen=False) as silent:
        job_id = cli("enqueue", "true").line
        silent.claim(job_id)
        running = cli.start("wait", job_id)

        running.until("worker pretender holds it and gives no sign of life")

        running.signal(signal.SIGINT)
        assert running.done().code == 130


def test_output_that_cannot_be_written_is_said(served: Cli) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = served.start("run", "echo", "hello", stdout=full).done()
    finally:
        os.close(full)

    assert done.code == 125
    assert "No space left on device" in done.err


def test_closed_descriptors_are_no_problem(served: Cli) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *PROGRAM, "run", "echo", "hello"],
        env=served.env,
        timeout=2 * LIMIT_S,
        check=False,
    )

    assert done.returncode == 0


def _claimed(cli: Cli, pretender: PretendWorker, job_id: str) -> Claim | None:
    return pretender.claim(job_id) if cli("show", job_id).code == 0 else None
