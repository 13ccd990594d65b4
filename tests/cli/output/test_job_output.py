"""A job's output in a pipe and on a terminal: bytes, escapes, times and gaps."""

from __future__ import annotations

import os
import re

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from oneshot_queue.task_events import OutputStream
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli

OUT, ERR = OutputStream.STDOUT, OutputStream.STDERR
HOSTILE = (
    "printf 'a\\033]0;owned\\007b\\033[2Jc\\233d\\ne\\r\\tf\\033[31mred\\033[0m \\303\\251 \\342\\200\\256 \\377 \\b'"
)


def _ended(cli: Cli, script: str) -> str:
    job_id = f"logs-{os.urandom(4).hex()}"
    cli("run", "--id", job_id, "sh", "-c", script)
    return job_id


def test_each_line_of_each_stream_starts_with_its_time(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    chunks = [(1, OUT, 0, b"a\nb"), (2, ERR, 0, b"x\n"), (3, OUT, 3, b"c\n\n"), (4, OUT, 6, b"d")]
    pretender.write(claim, chunks, total=9)

    done = cli("logs", "-t", job_id)

    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    assert re.fullmatch(f"{time}a\n{time}bc\n{time}\n{time}d", done.text)
    assert re.fullmatch(f"{time}x\n", done.err)


def test_omitted_bytes_are_reported_on_stderr_where_they_are_missing(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    pretender.write(claim, [(1, OUT, 0, b"head\n"), (2, OUT, 105, b"tail\n")], total=130)
    pretender.finish(claim, JobState.COMPLETED, Cause.EXIT, exit_code=0)

    done = cli("logs", job_id)

    assert done.out == b"head\ntail\n"
    assert "[100 bytes of stdout omitted here: not stored]" in done.err
    assert "[20 bytes of output omitted at the end: not stored]" in done.err
    assert cli.job(job_id)["output"] == {"bytes": 130, "dropped": 120}


def test_every_omitted_byte_of_a_large_output_is_reported(served: Cli) -> None:
    job_id = _ended(served, "yes | head -c 9000000; echo; echo the end")

    done = served("logs", job_id)

    output = served.job(job_id)["output"]
    assert output["dropped"] > 0
    assert len(done.out) == output["bytes"] - output["dropped"]
    gaps = [int(count) for count in re.findall(r"([0-9]+) bytes of stdout omitted here", done.err)]
    assert sum(gaps) == output["dropped"]
    assert "at the end" not in done.err
    assert done.out.endswith(b"the end\n")


def test_output_is_escaped_on_a_terminal_and_keeps_its_colours(served: Cli) -> None:
    job_id = _ended(served, HOSTILE)

    seen = served.on_terminal("logs", job_id).done().out

    expected = "a\\x1b]0;owned\\x07b\\x1b[2Jc\\x9bd\ne\r\tf\x1b[31mred\x1b[0m é \\u202e \\xff \\x08"
    assert seen.decode() == expected


def test_raw_output_is_not_escaped_on_a_terminal(served: Cli) -> None:
    job_id = _ended(served, HOSTILE)

    seen = served.on_terminal("logs", "--raw", job_id).done().out

    assert b"a\x1b]0;owned\x07b\x1b[2Jc\x9bd\n" in seen


def test_run_escapes_output_on_a_terminal_and_resets_its_colour(served: Cli) -> None:
    done = served.on_terminal("run", "printf", "\\033[31mred \\033]0;owned\\007").done()

    assert done.out.endswith(b"\x1b[31mred \\x1b]0;owned\\x07\x1b[0m")


def test_a_pipe_gets_the_bytes_unchanged(served: Cli) -> None:
    job_id = _ended(served, HOSTILE)

    assert b"\x1b]0;owned\x07b\x1b[2Jc\x9bd\ne\r\t" in served("logs", job_id).out
