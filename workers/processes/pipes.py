"""Our ends of a command's pipes: ``OutputPipes`` reads the outputs, ``StdinFeeder`` writes the input.

Both are driven by callbacks of the event loop, so a command costs no thread and no asyncio task for its pipes.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, Final

import anyio

from oneshot_queue.task_events import OutputStream
from oneshot_queue.workers.processes.process import Process
from oneshot_queue.workers.processes.readiness import Readiness

CHUNK_BYTES: Final = 65_536

DRAIN_S: Final = 1.0
"""How long to wait for the end of the output when a command has ended but another process still holds its pipe."""

_MAX_DRAIN_CHUNKS: Final = 32
"""More than the largest pipe holds (1 MiB). Beyond that, another process is still writing: stop, to let others run."""


class OutputPipe:
    """One output of a command, as its reader sees it.

    Attributes:
        kind: Which output this is. On a terminal, stdout carries both.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: OutputStream) -> None:
        self.kind = kind

    @coroutine
    def read_chunk(self) -> Generator[None, bytes, bytes]:
        """Wait for the next bytes: 1 to ``CHUNK_BYTES`` of them, or ``b""`` at the end of the output."""
        return (yield)


Reader = Callable[[OutputPipe], Coroutine[Any, Any, None]]
"""A coroutine function that reads one output to its end. It may await nothing but ``read_chunk``."""


class OutputPipes:
    """Drives one reader for each output of a process, until the output ends or is closed.

    A reader is a coroutine without an asyncio task. It is suspended in ``read_chunk``. When its descriptor is readable,
    the event loop calls ``_resume``, which reads one chunk and sends it into the coroutine. A command that writes
    without pause gets one chunk at a time, in turn with the other commands.

    When a reader returns or raises, its descriptor is closed. The event loop reports the error.
    """

    def __init__(self, process: Process, reader: Reader, readiness: Readiness) -> None:
        self._readiness = readiness
        self._files = process.outputs
        self._readers: dict[OutputStream, Coroutine[Any, Any, None]] = {}
        self._ended = asyncio.Event()
        for kind, fd in self._files.items():
            self._readers[kind] = started = reader(OutputPipe(kind))
            started.send(None)
            readiness.watch(fd, partial(self._resume, kind), is_patient=True)

    async def drain(self) -> None:
        """Read what the command left in its pipes, wait up to ``DRAIN_S`` for their end, and close them.

        The end comes at once, unless a process that does not belong to the command holds a pipe open.
        """
        for kind in list(self._files):
            for _ in range(_MAX_DRAIN_CHUNKS):
                if not self._resume(kind):
                    break
        if self._files:
            with anyio.move_on_after(DRAIN_S):
                await self._ended.wait()
        for kind in list(self._files):
            self._close(kind)

    def _resume(self, kind: OutputStream) -> bool:
        """Read one chunk and send it to the reader. Return whether there was one."""
        fd = self._files.get(kind)
        if fd is None:
            return False
        try:
            chunk = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # A terminal reports its end this way: no process has the other side open.
            chunk = b""
        try:
            self._readers[kind].send(chunk)
        except StopIteration:
            self._close(kind)
        except BaseException:
            self._close(kind)
            raise
        return bool(chunk)

    def _close(self, kind: OutputStream) -> None:
        fd = self._files.pop(kind)
        self._readiness.forget(fd)
        os.close(fd)
        self._readers.pop(kind).close()
        if not self._files:
            self._ended.set()


class StdinFeeder:
    """Writes the input of a command as fast as the command reads it, and never blocks if the command does not."""

    def __init__(self, process: Process, data: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._left = memoryview(data)
        self._is_waiting = False
        self._feed()

    def close(self) -> None:
        """Close the input. Data that was not written yet is dropped."""
        fd = self._process.stdin
        if fd is None:
            return
        if self._is_waiting:
            self._loop.remove_writer(fd)
        self._process.stdin = None
        os.close(fd)

    def _feed(self) -> None:
        fd = self._process.stdin
        assert fd is not None
        try:
            while self._left:
                self._left = self._left[os.write(fd, self._left) :]
        except BlockingIOError:
            if not self._is_waiting:
                self._loop.add_writer(fd, self._feed)
                self._is_waiting = True
            return
        except BrokenPipeError:
            # The command has exited or closed its input: it needs no more.
            pass
        self.close()
