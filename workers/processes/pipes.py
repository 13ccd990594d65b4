"""Our ends of a command's pipes: outputs that are read as they come, and an input that is fed without ever waiting.

Both work by callbacks of the event loop, so that a command costs neither a thread nor a task for its pipes.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Final

import anyio

from oneshot_queue.task_events import OutputStream
from oneshot_queue.workers.processes.process import Process
from oneshot_queue.workers.processes.readiness import Readiness

CHUNK_BYTES: Final = 65_536

DRAIN_S: Final = 1.0
"""How long output is read after a command's last process is gone, if somebody else still holds the pipe."""

_MAX_DRAIN_CHUNKS: Final = 32
"""More than the largest pipe holds (1 MiB); beyond that somebody is still writing, and others want their turn."""


class OutputPipes:
    """The outputs of one process, until each is at its end or closed.

    Args:
        on_readable: Called with the stream whenever it has something to read, to ``read`` one chunk of it and say
            whether there was one. A command that writes without pause gets its turn and no more.
    """

    def __init__(self, process: Process, on_readable: Callable[[OutputStream], bool], readiness: Readiness) -> None:
        self._readiness = readiness
        self._files = process.outputs
        self._ended = asyncio.Event()
        self._on_readable = on_readable
        for stream, fd in self._files.items():
            readiness.watch(fd, partial(on_readable, stream), is_patient=True)

    def read(self, stream: OutputStream) -> bytes | None:
        """One chunk; empty at the end of the stream, which is then closed; ``None`` if there is nothing to read now."""
        fd = self._files.get(stream)
        if fd is None:
            return b""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # how a terminal says that nobody has its other side open
        if not data:
            self._close(stream)
        return data

    async def drain(self) -> None:
        """Read what the command left in its pipes, wait a little for their end, and close them.

        The end comes at once, unless a process that is not the command's holds the pipe.
        """
        for stream in list(self._files):
            for _ in range(_MAX_DRAIN_CHUNKS):
                if not self._on_readable(stream):
                    break
        if self._files:
            with anyio.move_on_after(DRAIN_S):
                await self._ended.wait()
        for stream in list(self._files):
            self._close(stream)

    def _close(self, stream: OutputStream) -> None:
        fd = self._files.pop(stream)
        self._readiness.forget(fd)
        os.close(fd)
        if not self._files:
            self._ended.set()


class StdinFeeder:
    """Writes what a command is to read, as fast as it reads; a command that never reads is not waited for."""

    def __init__(self, process: Process, data: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._left = memoryview(data)
        self._is_waiting = False
        self._feed()

    def close(self) -> None:
        """End the input, and drop what was not read."""
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
            # The command ended, or closed its input: it has read what it wanted.
            pass
        self.close()
