"""The output of a command arrives byte for byte, whatever it is and however fast. Memory stays bounded."""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oneshot_queue.outcomes import Captured, Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import ActivityDetected, Event, OutputReceived, OutputStream, TaskEnded
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from tests.support.cases import case
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.waiting import eventually
from tests.workers.recorder import Recorder, a_guest, a_worker, python


class Digest:
    """An observer that keeps size and hash of the output."""

    def __init__(self) -> None:
        self.bytes = 0
        self.longest = 0
        self._hash = hashlib.sha256()

    def __call__(self, event: Event) -> None:
        if isinstance(event, OutputReceived):
            assert event.offset == self.bytes
            self.bytes += len(event.data)
            self.longest = max(self.longest, len(event.data))
            self._hash.update(event.data)

    @property
    def value(self) -> str:
        return self._hash.hexdigest()


async def _run(command: list[str], **options: object) -> Outcome:
    async with a_worker(Recorder(), **options) as orchestrator:
        return await orchestrator.submit(command).wait()


async def test_200_megabytes_arrive_byte_for_byte_in_bounded_chunks(recorder: Recorder, tmp_path: Path) -> None:
    block = (bytes(range(256)) * 4000)[:1_000_000]
    (tmp_path / "block").write_bytes(block)
    digest = Digest()

    async with a_worker(recorder, observers=[digest], capture=False) as orchestrator:
        outcome = await orchestrator.submit(
            ["sh", "-c", 'i=0; while [ $i -lt 200 ]; do cat "$1"; i=$((i+1)); done', "sh", str(tmp_path / "block")]
        ).wait()

    expected = hashlib.sha256()
    for _ in range(200):
        expected.update(block)
    assert outcome.state is JobState.COMPLETED
    assert digest.bytes == 200_000_000
    assert digest.value == expected.hexdigest()
    assert digest.longest <= 65_536


async def test_line_of_100_megabytes_arrives_whole() -> None:
    digest = Digest()

    async with a_worker(Recorder(), observers=[digest], capture=False) as orchestrator:
        await orchestrator.submit(["head", "-c", "100000000", "/dev/zero"]).wait()

    assert digest.bytes == 100_000_000
    assert digest.value == hashlib.sha256(bytes(100_000_000)).hexdigest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xfe\x80 invalid",
        "gr\u00fc\u00dfe".encode()[:-1],
        b"no final newline",
        b"\r1%\r2%\r",
        b"\n" * 5,
    ],
    ids=["nothing", "NUL", "invalid UTF-8", "half a character", "no newline", "progress", "newlines"],
)
async def test_any_bytes_arrive_on_both_streams(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data)

    outcome = await _run(["sh", "-c", 'cat "$1"; cat "$1" >&2', "sh", str(tmp_path / "data")])

    assert outcome.output == Captured(data, data, 0)


async def test_single_characters_arrive_in_order(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        await orchestrator.submit(
            python("import os, time\nfor c in b'slowly':\n os.write(1, bytes([c])); time.sleep(.01)")
        ).wait()

    received = recorder.of(OutputReceived)
    assert b"".join(event.data for event in received) == b"slowly"
    assert [event.offset for event in received] == [
        sum(len(e.data) for e in received[:i]) for i in range(len(received))
    ]


async def test_head_and_tail_of_long_output_are_kept_and_the_rest_is_counted() -> None:
    outcome = await _run(python("import sys\nfor n in range(1_000_000): sys.stdout.write(f'{n:09d}\\n')"))

    whole = b"".join(b"%09d\n" % n for n in range(1_000_000))
    assert outcome.output is not None
    kept = outcome.output.stdout
    assert kept == whole[: 256 * 1024] + whole[-4 * 1024 * 1024 :]
    assert outcome.output.dropped == len(whole) - len(kept)


@case("P6")
async def test_flood_of_output_uses_bounded_memory_and_delays_no_other_task(recorder: Recorder) -> None:
    read = 0

    def count(event: Event) -> None:
        nonlocal read
        if isinstance(event, OutputReceived):
            read += len(event.data)

    async with a_worker(recorder, observers=[count]) as orchestrator:
        flood = orchestrator.submit(["yes"])
        await eventually(lambda: read > 10_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(5):
            assert (await orchestrator.submit(["true"]).wait()).exit_code == 0
        await eventually(lambda: read > 70_000_000)
        begun = time.monotonic()
        flood.interrupt()
        outcome = await flood.wait()

    assert time.monotonic() - begun < limit_s(5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
    assert outcome.output is not None
    assert outcome.output.dropped > 60_000_000


async def test_silent_command_has_empty_output() -> None:
    assert (await _run(["true"])).output == Captured()


async def test_output_is_not_kept_without_capture() -> None:
    assert (await _run(["echo", "hi"], capture=False)).output is None


async def test_stdin_reaches_the_command_and_is_closed(recorder: Recorder) -> None:
    data = bytes(range(256)) * 4096

    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(JobSpec(["cat"], stdin=data)).wait()

    assert outcome.output is not None
    assert outcome.output.stdout == data


async def test_empty_stdin_is_at_end_of_file(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(JobSpec(["wc", "-c"], stdin=b"")).wait()

    assert outcome.output is not None
    assert outcome.output.stdout.strip() == b"0"


@pytest.mark.parametrize("script", ["exit 4", "exec <&-; echo closed; exit 4", "head -c 10 >/dev/null; exit 4"])
async def test_command_that_does_not_read_its_stdin_is_not_delayed(script: str, recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(JobSpec(["sh", "-c", script], stdin=bytes(1_048_576))).wait()

    assert outcome.exit_code == 4


async def test_stdin_is_dev_null_by_default(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(["readlink", "/proc/self/fd/0"]).wait()

    assert outcome.output == Captured(b"/dev/null\n")


@case("P2")
@pytest.mark.parametrize("kind", [a_worker, a_guest])
async def test_grandchild_that_holds_stdout_does_not_delay_the_outcome(
    kind: Callable[[Recorder], AsyncOrchestrator], recorder: Recorder, marker: ProcessMarker
) -> None:
    begun = time.monotonic()

    async with kind(recorder) as orchestrator:
        outcome = await orchestrator.submit(["sh", "-c", f"{marker.sleep} & setsid {marker.sleep} & echo done"]).wait()
        assert marker.alive() == []

    assert time.monotonic() - begun < limit_s(5)
    assert outcome.output == Captured(b"done\n")
    assert outcome.state is JobState.COMPLETED


async def test_foreign_process_that_holds_stdout_delays_the_outcome_by_one_second(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", "echo ready; exec sleep 300"])
        await recorder.wrote(b"ready")
        stranger = os.open(f"/proc/{task.pid}/fd/1", os.O_WRONLY)
        try:
            begun = time.monotonic()
            task.interrupt()
            await task.wait()
        finally:
            os.close(stranger)

    assert 0.9 < time.monotonic() - begun < limit_s(5)


@case("P8")
async def test_outputs_closed_early_cost_no_cpu_time(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", "exec >&- 2>&-; exec sleep 1; exit 5"])
        await recorder.started()
        before = time.process_time()
        outcome = await task.wait()

    assert outcome.exit_code == 0
    assert time.process_time() - before < 0.5


async def test_no_event_follows_the_end_of_a_task(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        tasks = [orchestrator.submit(["sh", "-c", "echo a; echo b >&2; (echo c &)"]) for _ in range(20)]
        for task in tasks:
            await task.wait()

    for task in tasks:
        kinds = recorder.kinds(task.task_id)
        assert (kinds[0], kinds[-1]) == ("TaskStarted", "TaskEnded")
        assert kinds.count("TaskEnded") == 1


async def test_error_of_an_observer_harms_neither_the_task_nor_other_observers(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> None:
        raise ValueError(type(event).__name__)

    async with a_worker(recorder, observers=[broken, recorder]) as orchestrator:
        outcome = await orchestrator.submit(["echo", "hi"]).wait()

    assert outcome.output == Captured(b"hi\n")
    assert recorder.of(TaskEnded)
    assert not recorder.of(ActivityDetected)
    assert "a callback raised" in caplog.text


@case("P8")
async def test_output_on_stderr_alone_is_captured(recorder: Recorder) -> None:
    async with a_worker(recorder) as orchestrator:
        outcome = await orchestrator.submit(["sh", "-c", "exec >&-; echo only >&2"]).wait()

    assert outcome.output == Captured(b"", b"only\n")
    assert {event.stream for event in recorder.of(OutputReceived)} == {OutputStream.STDERR}
