"""A job's output is kept at both ends and bounded in between, and every byte is either readable or counted."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import INLINE_BYTES, Chunk
from oneshot_queue.workers.worker.state import output_buffer
from oneshot_queue.workers.worker.state.output_buffer import Allowance, OutputBatch, OutputBuffer

OUT, ERR = OutputStream.STDOUT, OutputStream.STDERR
HEAD, TAIL, CHUNK, BATCH, WAITING, ALL = 40, 200, 16, 64, 32, 600


@pytest.fixture(autouse=True, scope="module")
def _small_limits() -> Iterator[None]:
    """Limits so small that a test can exceed them thousands of times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_buffer, "HEAD_BYTES", HEAD)
        patch.setattr(output_buffer, "TAIL_BYTES", TAIL)
        patch.setattr(output_buffer, "CHUNK_BYTES", CHUNK)
        patch.setattr(output_buffer, "BATCH_BYTES", BATCH)
        patch.setattr(output_buffer, "WAITING_PIECES", WAITING)
        patch.setattr(output_buffer, "ALL_WAITING_BYTES", ALL)
        yield


# Without a pattern, so that a shifted byte is seen.
NOISE = {stream: random.Random(stream.name).randbytes(100_000) for stream in OutputStream}


def written(stream: OutputStream, start: int, end: int) -> bytes:
    """The bytes of a stream between two offsets."""
    return NOISE[stream][start:end]


@dataclass
class Store:
    """Stands in for Redis: a head, and a tail of each stream."""

    head: list[Chunk] = field(default_factory=list)
    tails: dict[OutputStream, list[Chunk]] = field(default_factory=lambda: defaultdict(list))
    last_ordinal: int = 0

    def take(self, batch: OutputBatch) -> None:
        """As ``append_output``: a chunk that was stored before is not stored again."""
        for chunk, in_head in batch.chunks:
            if chunk.ordinal > self.last_ordinal:
                (self.head if in_head else self.tails[chunk.stream]).append(chunk)
                self.last_ordinal = chunk.ordinal
        for stream, first in zip(OutputStream, batch.tail_from, strict=True):
            self.tails[stream] = [chunk for chunk in self.tails[stream] if chunk.ordinal >= first]

    def chunks(self, stream: OutputStream) -> list[Chunk]:
        found = [chunk for chunk in self.head if chunk.stream is stream] + self.tails[stream]
        return sorted(found, key=lambda chunk: chunk.ordinal)

    def size(self) -> int:
        return sum(len(chunk.data) for stream in OutputStream for chunk in self.chunks(stream))


@dataclass
class Job:
    """A job that writes, and the store it writes to."""

    out: OutputBuffer = field(default_factory=OutputBuffer)
    store: Store = field(default_factory=Store)
    ends: dict[OutputStream, int] = field(default_factory=lambda: dict.fromkeys(OutputStream, 0))

    def write(self, stream: OutputStream, count: int) -> None:
        start = self.ends[stream]
        self.ends[stream] += count
        self.out.append(stream, start, written(stream, start, start + count), at_ms=start)

    def send(self) -> bool:
        """Send one batch, which is acknowledged."""
        batch = self.out.take()
        if batch is None:
            return False
        self.store.take(batch)
        self.out.stored()
        return True

    def send_without_a_reply(self) -> None:
        """Send one batch that arrives but is not acknowledged."""
        batch = self.out.take()
        if batch is not None:
            self.store.take(batch)

    def send_in_vain(self) -> None:
        """Send one batch that is refused; one that arrived before is acknowledged, since nothing is left to store."""
        batch = self.out.take()
        if batch is not None and batch.chunks[0][0].ordinal <= self.store.last_ordinal:
            self.out.stored()
        elif batch is not None:
            self.out.refused()

    def drain(self) -> None:
        while self.send():
            pass


streams = st.sampled_from(list(OutputStream))
writes = st.tuples(st.just(Job.write), streams, st.integers(1, 3 * CHUNK) | st.integers(1, 3))
floods = st.tuples(st.just(Job.write), streams, st.integers(1, 3 * TAIL))
sends = st.tuples(st.sampled_from([Job.send, Job.send_without_a_reply]))
refusals = st.tuples(st.just(Job.send_in_vain))
Step = tuple[Callable[..., object], *tuple[object, ...]]


def after(steps: list[Step]) -> Job:
    job = Job()
    for act, *arguments in steps:
        act(job, *arguments)
    job.drain()
    return job


@given(st.lists(writes | floods | sends | refusals, max_size=60))
def test_every_byte_is_readable_where_it_belongs_or_counted_as_dropped(steps: list[Step]) -> None:
    job = after(steps)

    assert job.out.total == sum(job.ends.values())
    assert job.store.size() + job.out.dropped == job.out.total
    assert job.out.kept == job.store.size()
    for stream in OutputStream:
        end = 0
        for chunk in job.store.chunks(stream):
            assert chunk.offset >= end, "a byte is there twice"
            end = chunk.offset + len(chunk.data)
            assert chunk.data == written(stream, chunk.offset, end)


@given(st.lists(writes | floods | sends, max_size=60))
def test_the_beginning_and_the_end_of_each_stream_are_whole(steps: list[Step]) -> None:
    job = after(steps)

    for stream, total in job.ends.items():
        readable = {
            offset
            for chunk in job.store.chunks(stream)
            for offset in range(chunk.offset, chunk.offset + len(chunk.data))
        }
        assert readable >= set(range(min(HEAD, total)))
        assert readable >= set(range(max(0, total - TAIL), total))


@given(st.lists(writes | floods | sends | refusals, max_size=60))
def test_what_redis_keeps_is_bounded(steps: list[Step]) -> None:
    job = after(steps)

    for stream in OutputStream:
        assert sum(len(chunk.data) for chunk in job.store.head if chunk.stream is stream) <= HEAD
        assert sum(len(chunk.data) for chunk in job.store.tails[stream]) < TAIL + CHUNK


@given(st.lists(writes | floods | sends | refusals, max_size=60))
def test_waiting_output_is_bounded_and_sent_in_small_batches(steps: list[Step]) -> None:
    job = Job()
    ordinal = 0
    for act, *arguments in steps:
        act(job, *arguments)

        waiting = job.out._waiting
        assert sum(len(piece.data) for piece in waiting) <= 2 * (HEAD + TAIL + TAIL // 4 + 3 * TAIL)
        assert len(waiting) <= WAITING + 2 * (HEAD + 2 * TAIL) // CHUNK + 8

    while (batch := job.out.take()) is not None:
        assert sum(len(chunk.data) for chunk, _ in batch.chunks) < BATCH + CHUNK
        for chunk, _ in batch.chunks:
            assert 0 < len(chunk.data) <= CHUNK
            assert chunk.ordinal > ordinal
            ordinal = chunk.ordinal
        job.out.stored()


@given(st.lists(writes | sends, max_size=40))
def test_a_batch_in_flight_is_the_same_until_it_is_dealt_with(steps: list[Step]) -> None:
    job = Job()
    for act, *arguments in steps:
        before = job.out.in_flight
        act(job, *arguments)
        if act is Job.write:
            assert job.out.in_flight is before


def test_streams_that_alternate_byte_by_byte_cannot_fill_the_memory() -> None:
    job = Job()

    for _ in range(20 * WAITING):
        job.write(OUT, 1)
        job.write(ERR, 1)

    assert len(job.out._waiting) <= WAITING + 2 * (HEAD + 2 * TAIL) // CHUNK
    job.drain()
    assert job.store.size() + job.out.dropped == 2 * 20 * WAITING


def test_the_order_among_the_streams_is_kept_while_redis_keeps_up() -> None:
    job = Job()

    for _ in range(10):
        job.write(OUT, 1)
        job.write(ERR, 1)
    job.drain()

    assert [chunk.stream for chunk in sorted(job.store.head, key=lambda chunk: chunk.ordinal)] == [OUT, ERR] * 10


def test_small_writes_are_merged_into_larger_chunks() -> None:
    job = Job()

    for _ in range(CHUNK):
        job.write(OUT, 1)
    batch = job.out.take()

    assert batch is not None
    assert [chunk.data for chunk, _ in batch.chunks] == [written(OUT, 0, CHUNK)]


def test_a_small_output_can_be_sent_with_the_result_of_its_job() -> None:
    job = Job()
    job.write(OUT, 5)
    job.write(ERR, 3)

    chunks = job.out.take_inline()

    assert chunks is not None
    assert [(chunk.stream, chunk.data) for chunk in chunks] == [(OUT, written(OUT, 0, 5)), (ERR, written(ERR, 0, 3))]


def test_an_output_that_was_sent_in_part_cannot_be_sent_with_the_result() -> None:
    job = Job()
    job.write(OUT, 5)
    job.send()
    job.write(OUT, 5)

    assert job.out.take_inline() is None


def test_an_output_that_is_in_flight_or_large_cannot_be_sent_with_the_result() -> None:
    in_flight, large = Job(), Job()
    in_flight.write(OUT, 5)
    in_flight.out.take()
    large.write(OUT, INLINE_BYTES + 1)

    assert in_flight.out.take_inline() is None
    assert large.out.take_inline() is None


def test_no_output_at_all_is_nothing_to_send() -> None:
    out = OutputBuffer()

    assert (out.take(), out.take_inline(), out.is_waiting, out.kept) == (None, [], False, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(1, 2 * TAIL)), max_size=100))
def test_waiting_output_of_many_jobs_is_bounded_together_and_counted(steps: list[tuple[int, bool, int]]) -> None:
    allowance, jobs = Allowance(), [Job() for _ in range(10)]
    for job in jobs:
        job.out.share(allowance)
    for number, is_sent, count in steps:
        jobs[number].write(OUT, count)
        if is_sent:
            jobs[number].send()
        # Above the limit, a job that writes is cut to its share; the others keep what they had.
        assert allowance.used <= ALL + 10 * (TAIL + TAIL // 4)

    for job in jobs:
        job.drain()
        assert job.store.size() == job.out.kept
        assert job.out.total == sum(job.ends.values())
    assert (allowance.used, allowance.holders) == (0, 0)


def test_jobs_that_all_write_without_pause_share_the_common_limit() -> None:
    allowance, jobs = Allowance(), [Job() for _ in range(10)]
    for job in jobs:
        job.out.share(allowance)

    for _ in range(30):
        for job in jobs:
            job.write(OUT, CHUNK)

    assert allowance.holders == 10
    assert ALL / 2 < allowance.used <= ALL + ALL // 4 + 10 * CHUNK
    alone = Job()
    alone.write(OUT, 30 * CHUNK)
    assert alone.out.kept > jobs[0].out.kept


def test_waiting_output_of_a_job_that_is_no_longer_held_is_not_counted() -> None:
    allowance, job = Allowance(), Job()
    job.out.share(allowance)
    job.write(OUT, HEAD + 50)
    assert (allowance.used, allowance.holders) == (50, 1)

    job.out.share(Allowance())
    job.write(OUT, 50)

    assert (allowance.used, allowance.holders) == (0, 0)


def test_a_smaller_batch_can_be_requested() -> None:
    job = Job()
    job.write(OUT, 10 * CHUNK)

    batch = job.out.take(CHUNK)

    assert batch is not None
    assert sum(len(chunk.data) for chunk, _ in batch.chunks) == CHUNK
