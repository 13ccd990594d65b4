"""``logs`` and what a job's output may do to a terminal."""

from __future__ import annotations

import os
import re
import signal
from contextlib import closing
from pathlib import Path

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from oneshot_queue.task_events import OutputStream
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli
from tests.support.servers import ServerProcess

OUT, ERR = OutputStream.STDOUT, OutputStream.STDERR


def _ended(cli: Cli, script: str) -> str:
    job_id = f"logs-{os.urandom(4).hex()}"
    cli("run", "--id", job_id, "sh", "-c", script)
    return job_id


def test_logs_prints_each_stream_to_its_own_descriptor_and_ends(served: Cli) -> None:
    job_id = _ended(served, "printf 'a\\377b\\n'; echo err >&2")

    done = served("logs", job_id)

    assert (done.code, done.out, done.err) == (0, b"a\xffb\n", "err\n")


def test_one_stream_may_be_chosen(served: Cli) -> None:
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
def test_tail_is_the_last_lines(served: Cli, count: str, expected: str) -> None:
    job_id = _ended(served, "echo one; sleep 0.05; printf 'tw'; sleep 0.05; echo o; printf three")

    assert served("logs", "-n", count, job_id).text == expected


def test_tail_counts_lines_of_the_chosen_stream(served: Cli) -> None:
    job_id = _ended(served, "echo a; sleep 0.05; echo x >&2; sleep 0.05; echo b; sleep 0.05; echo y >&2")

    assert served("logs", "--stdout", "-n", "2", job_id).out == b"a\nb\n"
    done = served("logs", "-n", "2", job_id)
    assert (done.out, done.err) == (b"b\n", "y\n")


def test_follow_waits_for_the_start_goes_on_and_ends_with_the_job(cli: Cli, pretender: PretendWorker) -> None:
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


def test_follow_may_begin_with_the_last_lines(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    pretender.write(claim, [(1, OUT, 0, b"one\ntwo\nthr")], total=11)
    running = cli.start("logs", "-f", "-n", "2", job_id)
    running.until("two\nthr", on="out")

    pretender.write(claim, [(2, OUT, 11, b"ee\n")], total=14)
    pretender.finish(claim, JobState.COMPLETED, Cause.EXIT, exit_code=0)

    assert running.done().out == b"two\nthree\n"


def test_follow_says_that_no_worker_lives(cli: Cli) -> None:
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
    assert "has not been started" in cli.on_terminal("logs", job_id).done().text


def test_timestamps_begin_each_line_of_each_stream(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    chunks = [(1, OUT, 0, b"a\nb"), (2, ERR, 0, b"x\n"), (3, OUT, 3, b"c\n\n"), (4, OUT, 6, b"d")]
    pretender.write(claim, chunks, total=9)

    done = cli("logs", "-t", job_id)

    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    assert re.fullmatch(f"{time}a\n{time}bc\n{time}\n{time}d", done.text)
    assert re.fullmatch(f"{time}x\n", done.err)


def test_bytes_that_were_not_kept_are_said_on_stderr_where_they_are_missing(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    pretender.write(claim, [(1, OUT, 0, b"head\n"), (2, OUT, 105, b"tail\n")], total=130)
    pretender.finish(claim, JobState.COMPLETED, Cause.EXIT, exit_code=0)

    done = cli("logs", job_id)

    assert done.out == b"head\ntail\n"
    assert "100 bytes of stdout are missing here: they were not kept" in done.err
    assert "20 bytes of output are missing at the end: they were not kept" in done.err
    assert cli.job(job_id)["output"] == {"bytes": 130, "dropped": 120}


def test_of_a_large_output_every_missing_byte_is_said(served: Cli) -> None:
    job_id = _ended(served, "yes | head -c 9000000; echo; echo the end")

    done = served("logs", job_id)

    output = served.job(job_id)["output"]
    assert output["dropped"] > 0
    assert len(done.out) == output["bytes"] - output["dropped"]
    gaps = [int(count) for count in re.findall(r"([0-9]+) bytes of stdout are missing here", done.err)]
    assert sum(gaps) == output["dropped"]
    assert "at the end" not in done.err
    assert done.out.endswith(b"the end\n")


HOSTILE = (
    "printf 'a\\033]0;owned\\007b\\033[2Jc\\233d\\ne\\r\\tf\\033[31mred\\033[0m \\303\\251 \\342\\200\\256 \\377 \\b'"
)


def test_on_a_terminal_output_is_harmless_and_colours_stay(served: Cli) -> None:
    job_id = _ended(served, HOSTILE)

    seen = served.on_terminal("logs", job_id).done().out

    expected = "a\\x1b]0;owned\\x07b\\x1b[2Jc\\x9bd\ne\r\tf\x1b[31mred\x1b[0m é \\u202e \\xff \\x08"
    assert seen.decode() == expected


def test_raw_passes_everything_to_a_terminal(served: Cli) -> None:
    job_id = _ended(served, HOSTILE)

    seen = served.on_terminal("logs", "--raw", job_id).done().out

    assert b"a\x1b]0;owned\x07b\x1b[2Jc\x9bd\n" in seen


def test_run_on_a_terminal_is_harmless_too_and_a_colour_ends_with_it(served: Cli) -> None:
    done = served.on_terminal("run", "printf", "\\033[31mred \\033]0;owned\\007").done()

    assert done.out.endswith(b"\x1b[31mred \\x1b]0;owned\\x07\x1b[0m")


def test_in_a_pipe_everything_passes_as_it_is(served: Cli) -> None:
    job_id = _ended(served, HOSTILE)

    assert b"\x1b]0;owned\x07b\x1b[2Jc\x9bd\ne\r\t" in served("logs", job_id).out


def test_a_reader_that_had_enough_ends_logs_quietly(served: Cli) -> None:
    job_id = _ended(served, "yes | head -c 3000000")
    reader, writer = os.pipe()
    running = served.start("logs", job_id, stdout=writer)
    os.close(writer)
    os.read(reader, 2)

    os.close(reader)

    done = running.done()
    assert (done.code, done.err) == (128 + signal.SIGPIPE, "")


def test_who_follows_is_told_that_the_broker_is_away_and_that_it_is_back(
    fresh_server: ServerProcess, namespace: str, tmp_path: Path
) -> None:
    if not fresh_server.is_real:
        pytest.skip("fakeredis keeps no data")
    user = Cli(fresh_server.url, namespace, tmp_path / "state")
    job_id = user("enqueue", "true").line
    with closing(user.start("logs", "-f", job_id)) as running:
        running.until("no live worker")
        fresh_server.kill()
        running.until("retrying for 30 s")
        fresh_server.start()
        running.until("oneshot-queue: the broker answers again")
        user("interrupt", job_id)
        done = running.done()
    user.close()

    assert done.code == 0
    assert done.err.count("retrying for 30 s") == done.err.count("answers again") == 1
