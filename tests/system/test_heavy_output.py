"""Huge output: its head and tail are kept, the rest is counted, and other jobs are not affected."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from oneshot_queue import InterruptResult, JobState
from oneshot_queue.outcomes import HEAD_BYTES, TAIL_BYTES
from oneshot_queue.task_events import OutputStream
from tests.support.cases import case
from tests.support.deployment import Deployment, output_of, record_of
from tests.support.limits import limit_s
from tests.support.waiting import TIMEOUT_S, wait_until

MB = 1_000_000


def block(number: int) -> bytes:
    """A hundred bytes that contain their own number."""
    return b"%099d\n" % number


FLOOD = """\
import os
for start in range(0, {count}, 1000):
    data = b"".join(b"%099d\\n" % number for number in range(start, start + 1000))
    while data:
        data = data[os.write({fd}, data):]
"""


def test_head_and_tail_of_two_hundred_megabytes_are_kept_and_the_rest_is_counted(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=2)
    deployment.enqueue().wait(timeout=TIMEOUT_S)
    before = worker.rss_bytes

    job = deployment.queue.enqueue([sys.executable, "-I", "-c", FLOOD.format(count=2_000_000, fd=1)])

    assert job.wait(timeout=limit_s(60)).state is JobState.COMPLETED
    assert worker.peak_rss_bytes - before < 50 * MB
    stdout, stderr = output_of(job)
    whole_head = b"".join(block(number) for number in range(HEAD_BYTES // 100 + 1))[:HEAD_BYTES]
    assert stdout[:HEAD_BYTES] == whole_head
    whole_tail = b"".join(block(number) for number in range(2_000_000 - TAIL_BYTES // 100 - 1, 2_000_000))[-TAIL_BYTES:]
    assert stdout[-TAIL_BYTES:] == whole_tail
    assert stderr == b""
    record = record_of(job)
    assert record.output.bytes == 200 * MB
    assert record.output.dropped == 200 * MB - len(stdout)
    assert sum(chunk.missing for chunk in job.output()) == record.output.dropped
    assert len(stdout) < HEAD_BYTES + TAIL_BYTES + 1_048_576
    worker.stop()


def test_line_of_a_hundred_megabytes_is_handled_like_other_output(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=1)
    deployment.enqueue().wait(timeout=TIMEOUT_S)
    before = worker.rss_bytes

    job = deployment.queue.enqueue(["head", "-c", str(100 * MB), "/dev/zero"])

    assert job.wait(timeout=limit_s(60)).state is JobState.COMPLETED
    assert worker.peak_rss_bytes - before < 50 * MB
    stdout, _ = output_of(job)
    assert set(stdout) == {0}
    assert len(stdout) >= HEAD_BYTES + TAIL_BYTES
    assert (record_of(job).output.bytes, record_of(job).output.dropped) == (100 * MB, 100 * MB - len(stdout))
    worker.stop()


@case("P6")
def test_flood_affects_no_other_job_and_is_interrupted_within_a_second(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=3)

    def latencies_ms() -> list[int]:
        found = []
        for _ in range(20):
            job = deployment.queue.enqueue(["echo", "hello"])
            job.wait(timeout=TIMEOUT_S)
            record = record_of(job)
            assert record.ended_ms is not None
            found.append(record.ended_ms - record.created_ms)
        return found

    calm = statistics.median(latencies_ms())
    before = worker.rss_bytes
    flood = deployment.queue.enqueue(["yes", "flood"])
    both = deployment.queue.enqueue(["sh", "-c", "yes out & exec yes err >&2"])
    wait_until(lambda: record_of(flood).output.dropped, lambda dropped: dropped > 20 * MB, what="a flood")
    busy = statistics.median(latencies_ms())
    began = time.monotonic()
    report = flood.interrupt()
    took_s = time.monotonic() - began
    both.interrupt()

    assert report.result is InterruptResult.INTERRUPTED
    assert took_s < limit_s(1)
    # Twice as long on an idle machine; this limit leaves room for other work on it.
    assert busy < 10 * calm + 100
    assert worker.peak_rss_bytes - before < 75 * MB
    last = list(flood.output())[-1]
    assert last.data.endswith(b"flood\n") or b"flood" in last.data
    totals = record_of(both).output
    assert totals.dropped > 0
    assert {chunk.stream for chunk in both.output()} == set(OutputStream)
    worker.stop()


def test_output_can_be_followed_through_a_flood_to_its_end(deployment: Deployment, tmp_path: Path) -> None:
    deployment.start_worker(concurrency=1)
    job = deployment.queue.enqueue([sys.executable, "-I", "-c", FLOOD.format(count=500_000, fd=2)])

    seen, end = 0, 0
    for chunk in job.output(follow=True):
        assert chunk.stream is OutputStream.STDERR
        seen += chunk.missing + len(chunk.data)
        number = end = seen
        first = number - len(chunk.data)
        whole = b"".join(block(each) for each in range(first // 100, number // 100 + 1))
        assert chunk.data == whole[first % 100 : first % 100 + len(chunk.data)]

    assert end == 50 * MB
