"""Each output is read by a coroutine that the event loop resumes when there is something to read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from oneshot_queue.task_events import OutputStream
from oneshot_queue.workers.processes.pipes import CHUNK_BYTES, OutputPipe, OutputPipes, Reader
from oneshot_queue.workers.processes.process import Process
from oneshot_queue.workers.processes.readiness import Readiness
from tests.support.waiting import eventually


class APipe:
    """A process that consists of one output, and the end that the test writes to."""

    def __init__(self) -> None:
        self._readiness = Readiness()
        reading, self.writing = os.pipe()
        os.set_blocking(reading, False)
        self.process = Process(0, -1, {OutputStream.STDOUT: reading})
        self.chunks: list[bytes] = []
        self.was_closed = False

    def read_by(self, reader: Reader) -> OutputPipes:
        return OutputPipes(self.process, reader, self._readiness)

    async def keep(self, pipe: OutputPipe) -> None:
        try:
            while chunk := await pipe.read_chunk():
                self.chunks.append(chunk)
        finally:
            self.was_closed = True

    def close_writing(self) -> None:
        os.close(self.writing)
        self.writing = -1

    def close(self) -> None:
        if self.writing >= 0:
            self.close_writing()
        self.process.close()
        self._readiness.close()


@pytest.fixture
async def pipe() -> AsyncIterator[APipe]:
    made = APipe()
    yield made
    made.close()


@pytest.fixture
async def reported() -> AsyncIterator[list[BaseException]]:
    """The errors that the event loop reports."""
    errors: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
    yield errors
    loop.set_exception_handler(None)


async def test_reader_receives_bounded_chunks_until_the_end_without_a_task(pipe: APipe) -> None:
    tasks = asyncio.all_tasks()
    pipe.read_by(pipe.keep)

    os.write(pipe.writing, b"x" * 60_000)
    await eventually(lambda: pipe.chunks)
    assert asyncio.all_tasks() == tasks
    os.set_blocking(pipe.writing, False)
    written = os.write(pipe.writing, b"y" * 65_536)
    pipe.close_writing()
    await eventually(lambda: pipe.was_closed, what="the end of the output")

    assert b"".join(pipe.chunks) == b"x" * 60_000 + b"y" * written
    assert max(map(len, pipe.chunks)) <= CHUNK_BYTES
    assert pipe.process.outputs == {}


async def test_drain_reads_what_is_left_and_closes_the_reader_of_a_pipe_that_stays_open(
    pipe: APipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oneshot_queue.workers.processes.pipes.DRAIN_S", 0.05)
    pipes = pipe.read_by(pipe.keep)
    os.write(pipe.writing, b"last words")

    await pipes.drain()

    assert pipe.chunks == [b"last words"]
    assert pipe.was_closed
    assert pipe.process.outputs == {}


async def test_reader_that_raises_ends_its_output_and_is_reported(pipe: APipe, reported: list[BaseException]) -> None:
    async def fail(stream: OutputPipe) -> None:
        await stream.read_chunk()
        raise ZeroDivisionError

    pipes = pipe.read_by(fail)
    os.write(pipe.writing, b"x")
    await eventually(lambda: reported, what="the report")
    await pipes.drain()

    assert [type(error) for error in reported] == [ZeroDivisionError]
    assert pipe.process.outputs == {}
