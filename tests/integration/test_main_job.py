"""A command goes from a client through Redis to a worker and runs there; its state, output and result come back."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from oneshot_queue import Cause, JobState
from oneshot_queue.task_events import OutputStream
from tests.support.cases import case
from tests.support.deployment import Deployment, history_of, output_of, record_of, until_state
from tests.support.waiting import TIMEOUT_S, wait_until


def test_job_runs_and_its_output_can_be_followed(served: Deployment, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    job = served.enqueue(f"echo one; read line < {go_on}; echo two; echo three >&2; exit 0")

    chunks = job.output(follow=True)
    first = next(chunks)
    state_at_the_first = job.refresh().state
    go_on.write_text("\n")
    rest = list(chunks)

    assert (first.stream, first.data) == (OutputStream.STDOUT, b"one\n")
    assert state_at_the_first is JobState.RUNNING
    assert [(each.stream, each.data) for each in rest if each.stream is OutputStream.STDOUT] == [
        (OutputStream.STDOUT, b"two\n")
    ]
    assert b"".join(each.data for each in rest if each.stream is OutputStream.STDERR) == b"three\n"
    outcome = job.wait(timeout=TIMEOUT_S)
    assert (outcome.state, outcome.cause, outcome.exit_code, outcome.attempt) == (
        JobState.COMPLETED,
        Cause.EXIT,
        0,
        1,
    )
    assert history_of(job) == ["CREATED", "RUNNING", "COMPLETED"]
    record = record_of(job)
    reported = served.witness.until("start", job.id)
    assert (record.pid, record.host) == (reported.pid, socket.gethostname())
    assert record.started_ms is not None
    assert record.ended_ms is not None
    assert record.created_ms <= record.started_ms <= record.ended_ms
    assert record.output.bytes == len(b"one\ntwo\nthree\n")


def test_both_streams_arrive_unchanged(served: Deployment) -> None:
    strange = bytes(range(256)) + b"\0\0\xff\xfe \xc3\x28 \xf0\x9f\x98 no newline at the end"

    job = served.queue.enqueue(["sh", "-c", "tee /dev/fd/2"], stdin=strange)

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert output_of(job) == (strange, strange)


def test_large_output_arrives_unchanged(served: Deployment) -> None:
    large = os.urandom(200_000)

    job = served.queue.enqueue(["tee", "/dev/fd/2"], stdin=large)

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert output_of(job) == (large, large)
    assert served.redis.type(served.keys.output_head(job.id, 1)) == b"stream"


@pytest.mark.parametrize(("size", "kind"), [(100, b"string"), (40, b"none"), (0, b"none")])
def test_small_output_is_stored_as_a_string_and_tiny_output_in_the_job_hash(
    served: Deployment, size: int, kind: bytes
) -> None:
    job = served.queue.enqueue(["printf", "%s", "x" * size])

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED

    assert output_of(job) == (b"x" * size, b"")
    assert served.redis.type(served.keys.output_head(job.id, 1)) == kind
    assert served.redis.hexists(served.keys.job(job.id), "written") is (size == 40)


def test_output_written_byte_by_byte_is_complete(served: Deployment) -> None:
    code = "import os, time\nfor i in range(100):\n    os.write(1 + i % 2, bytes([i])); time.sleep(0.005)"

    job = served.queue.enqueue([sys.executable, "-I", "-c", code])

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert output_of(job) == (bytes(range(0, 100, 2)), bytes(range(1, 100, 2)))
    # Chunks are combined: at most ten appends a second.
    assert 1 <= served.redis.xlen(served.keys.output_head(job.id, 1)) <= 100


def test_silent_job_becomes_idle_and_runs_again_on_output(served: Deployment, tmp_path: Path) -> None:
    # Two pipes: a reader that reopens one pipe may meet the previous writer, and read its end of file.
    speak, end = tmp_path / "speak", tmp_path / "end"
    os.mkfifo(speak)
    os.mkfifo(end)
    job = served.enqueue(f"echo one; read line < {speak}; echo two; read line < {end}", idle_after=0.2)

    until_state(job, JobState.IDLE)
    speak.write_text("\n")
    wait_until(lambda: history_of(job), lambda seen: seen[-2:] == ["RUNNING", "IDLE"] and len(seen) == 5)
    end.write_text("\n")

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert history_of(job) == ["CREATED", "RUNNING", "IDLE", "RUNNING", "IDLE", "COMPLETED"]
    assert output_of(job) == (b"one\ntwo\n", b"")


def test_idle_job_that_exits_silently_completes(served: Deployment) -> None:
    job = served.enqueue("sleep 0.6", idle_after=0.1)

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert history_of(job) == ["CREATED", "RUNNING", "IDLE", "COMPLETED"]


@pytest.mark.parametrize("stdin", [None, b"", b"a\0b\xff" * 60_000], ids=["none", "empty", "240 kB"])
def test_command_reads_all_of_its_stdin(served: Deployment, stdin: bytes | None) -> None:
    job = served.queue.enqueue(["sh", "-c", "cat | wc -c"], stdin=stdin)

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert int(output_of(job)[0]) == len(stdin or b"")


@case("P16")
def test_command_sees_its_own_variables_and_no_secret_of_the_worker(served: Deployment) -> None:
    job = served.queue.enqueue(["env", "-0"], env={"OWN": "two\nlines", "PATH": os.environ["PATH"]})

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    seen = dict(line.split(b"=", 1) for line in output_of(job)[0].split(b"\0") if line)
    assert seen[b"OWN"] == b"two\nlines"
    assert seen[b"ONESHOT_JOB_ID"] == job.id.encode()
    assert seen[b"ONESHOT_ATTEMPT"] == b"1"
    assert seen[b"ONESHOT_TOKEN"]
    assert {name for name in seen if name.startswith(b"ONESHOT_")} == {
        b"ONESHOT_JOB_ID",
        b"ONESHOT_ATTEMPT",
        b"ONESHOT_TOKEN",
    }
    # The worker of this test has these variables in its environment.
    assert not {b"REDIS_URL", b"REDIS_PASSWORD", b"AWS_SECRET_ACCESS_KEY"} & seen.keys()
    assert b"canary" not in b"".join(seen.values())
    assert served.url.encode() not in b"".join(seen.values())


def test_command_runs_in_the_requested_folder(served: Deployment, tmp_path: Path) -> None:
    job = served.queue.enqueue(["pwd", "-P"], cwd=str(tmp_path))

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert output_of(job)[0] == os.fsencode(tmp_path.resolve()) + b"\n"


def test_success_codes_decide_between_completed_and_failed(served: Deployment) -> None:
    asked = {3: (0, 3), 4: (0, 3), 0: (3,)}

    jobs = {code: served.queue.enqueue(["sh", "-c", f"exit {code}"], success_codes=ok) for code, ok in asked.items()}

    outcomes = {code: job.wait(timeout=TIMEOUT_S) for code, job in jobs.items()}
    assert {code: (each.state, each.cause, each.exit_code) for code, each in outcomes.items()} == {
        3: (JobState.COMPLETED, Cause.EXIT, 3),
        4: (JobState.FAILED, Cause.EXIT, 4),
        0: (JobState.FAILED, Cause.EXIT, 0),
    }


@case("P12")
@pytest.mark.parametrize("limit", ["time_limit", "idle_timeout"])
def test_job_that_exceeds_its_limit_ends_and_fails_by_that_limit(served: Deployment, limit: str) -> None:
    job = served.enqueue("sleep 300", grace=5, **{limit: 0.2})

    outcome = job.wait(timeout=TIMEOUT_S)

    assert (outcome.state, outcome.cause, outcome.signal) == (JobState.FAILED, Cause(limit), signal.SIGTERM)
    assert len(served.witness.of("start", job.id)) == 1
    assert served.witness.of("end", job.id) == []


@case("P9")
def test_command_that_cannot_start_fails_its_job_with_host_program_and_reason(
    served: Deployment, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    missing = served.queue.enqueue(["no-such-program-anywhere"])
    forbidden = served.queue.enqueue([str(script)])
    nowhere = served.queue.enqueue(["true"], cwd=str(tmp_path / "missing"))

    found = [(job.wait(timeout=TIMEOUT_S), job) for job in (missing, forbidden, nowhere)]

    assert [(each.state, each.cause, each.exit_code) for each, _ in found] == [
        (JobState.FAILED, Cause.SPAWN_ERROR, 127),
        (JobState.FAILED, Cause.SPAWN_ERROR, 126),
        (JobState.FAILED, Cause.SPAWN_ERROR, 126),
    ]
    for (outcome, job), what in zip(found, ["no-such-program-anywhere", str(script), "missing"], strict=True):
        assert outcome.error is not None
        assert socket.gethostname() in outcome.error
        assert what in outcome.error
        assert record_of(job).error == outcome.error
        assert record_of(job).pid is None
    assert ["permission" in str(each.error) for each, _ in found] == [False, True, False]


@case("P11")
def test_job_ended_by_a_signal_fails_by_that_signal(served: Deployment) -> None:
    job = served.queue.enqueue(["sh", "-c", "kill -SEGV $$"])

    outcome = job.wait(timeout=TIMEOUT_S)

    assert (outcome.state, outcome.cause, outcome.signal, outcome.exit_code) == (
        JobState.FAILED,
        Cause.SIGNAL,
        signal.SIGSEGV,
        None,
    )


def test_resource_usage_of_a_job_is_recorded(served: Deployment) -> None:
    code = "block = bytearray(50_000_000)\nimport time\nwhile time.process_time() < 0.1: pass"

    job = served.queue.enqueue([sys.executable, "-I", "-c", code])

    outcome = job.wait(timeout=TIMEOUT_S)
    assert outcome.state is JobState.COMPLETED
    assert 0.1 <= outcome.usage.cpu_user_s + outcome.usage.cpu_system_s < 20
    assert outcome.usage.max_rss_bytes > 50_000_000
    assert record_of(job).usage == outcome.usage


def test_job_enqueued_twice_with_one_id_runs_once(served: Deployment) -> None:
    job = served.enqueue("echo once", id="twice-the-same")

    again = served.enqueue("echo once", id="twice-the-same")

    assert (job.created, again.created) == (True, False)
    assert again.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    assert served.witness.times("start") == {job.id: 1}


def test_arguments_of_any_bytes_arrive_unchanged(served: Deployment, tmp_path: Path) -> None:
    words: list[str | bytes] = ["", " ", "'", '"', "$(exit 3)", ";", "\n", "-n", "--", "ü😀", b"\xff\xfe", "*", "a=b"]

    job = served.queue.enqueue(["sh", "-c", "tr '\\0' '|' < /proc/$$/cmdline", "sh", *words])

    assert job.wait(timeout=TIMEOUT_S).state is JobState.COMPLETED
    raw = b"|".join(word if isinstance(word, bytes) else word.encode() for word in words) + b"|"
    assert output_of(job)[0].endswith(b"|sh|" + raw)
