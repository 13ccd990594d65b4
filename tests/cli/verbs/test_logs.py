"""``logs``: streams, tails, and following a job."""

from __future__ import annotations

import os
import signal

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from oneshot_queue.task_events import OutputStream
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli

OUT, ERR = OutputStream.STDOUT, OutputStream.STDERR


def _ended(cli: Cli, script: str) -> str:
    job_id = f"logs-{os.urandom(4).hex()}"
    cli("run", "--id", job_id, "sh", "-c", script)
    return job_id


def test_each_stream_goes_to_its_own_descriptor(served: Cli) -> None:
    job_id = _ended(served, "printf 'a\\377b\\n'; echo err >&2")

    done = served("logs", job_id)

    assert (done.code, done.out, done.err) == (0, b"a\xffb\n", "err\n")


def test_one_stream_can_be_selected(served: Cli) -> None:
    job_id = _ended(served, "echo out; echo err >&2")

    only_out, only_err = served("logs", "--stdout", job_id), served("logs", "--stderr", job_id)
    both = served("logs", "--stdout", "--stderr", job_id)

    assert (only_out.out, only_out.err) == (b"out\n", "")
    assert (only_err.out, only_err.err) == (b"", "err\n")
    assert (both.out, both.err) == (b"out\n", "err\n")


@pytest.mark.parametrize(
    ("count", "expected"),
    [("0", ""), ("1", "three"), ("2", "two\nthree"), ("3", "one\ntwo\nthree"), ("99", "one\ntwo\nthree")],
)
def test_tail_prints_the_last_lines(served: Cli, count: str, expected: str) -> None:
    job_id = _ended(served, "echo one; sleep 0.05; printf 'tw'; sleep 0.05; echo o; printf three")

    assert served("logs", "-n", count, job_id).text == expected


def test_tail_counts_lines_of_the_selected_stream(served: Cli) -> None:
    job_id = _ended(served, "echo a; sleep 0.05; echo x >&2; sleep 0.05; echo b; sleep 0.05; echo y >&2")

    assert served("logs", "--stdout", "-n", "2", job_id).out == b"a\nb\n"
    done = served("logs", "-n", "2", job_id)
    assert (done.out, done.err) == (b"b\n", "y\n")


def test_follow_waits_for_the_start_and_ends_with_the_job(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    running = cli.start("logs", "-f", job_id)

    claim = pretender.claim(job_id)
    pretender.write(claim, [(1, OUT, 0, b"first\n")], total=6)
    running.until("first\n", on="out")
    pretender.write(claim, [(2, OUT, 6, b"second\n")], total=13)
    running.until("second\n", on="out")
    pretender.finish(claim, JobState.FAILED, Cause.EXIT, exit_code=3)

    done = running.done()
    assert (done.code, done.out, done.err) == (0, b"first\nsecond\n", "")


def test_follow_can_start_with_the_last_lines(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    pretender.write(claim, [(1, OUT, 0, b"one\ntwo\nthr")], total=11)
    running = cli.start("logs", "-f", "-n", "2", job_id)
    running.until("two\nthr", on="out")

    pretender.write(claim, [(2, OUT, 11, b"ee\n")], total=14)
    pretender.finish(claim, JobState.COMPLETED, Cause.EXIT, exit_code=0)

    assert running.done().out == b"two\nthree\n"


def test_follow_reports_that_there_is_no_live_worker(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line
    running = cli.start("logs", "-f", job_id)

    running.until("no live worker on queue default")

    running.signal(signal.SIGINT)
    assert running.done().code == 130
    assert cli.job(job_id)["state"] == "CREATED"


def test_without_follow_a_job_that_has_not_started_prints_nothing(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line

    done = cli("logs", job_id)

    assert (done.code, done.out, done.err) == (0, b"", "")
    assert "has not started yet" in cli.on_terminal("logs", job_id).done().text


def test_a_closed_reader_ends_logs_quietly(served: Cli) -> None:
    job_id = _ended(served, "yes | head -c 3000000")
    reader, writer = os.pipe()
    running = served.start("logs", job_id, stdout=writer)
    os.close(writer)
    os.read(reader, 2)

    os.close(reader)

    done = running.done()
    assert (done.code, done.err) == (128 + signal.SIGPIPE, "")
