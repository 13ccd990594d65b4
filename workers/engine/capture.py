"""Keeps the head and the tail of a command's output, in bounded memory."""

from __future__ import annotations

from oneshot_queue.outcomes import HEAD_BYTES, TAIL_BYTES, Captured
from oneshot_queue.task_events import OutputStream


class OutputCapture:
    """Keeps the first ``head_bytes`` and the last ``tail_bytes`` of each stream, and counts what is dropped between."""

    def __init__(self, *, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._streams = {stream: _StreamCapture(head_bytes, tail_bytes) for stream in OutputStream}

    def append(self, stream: OutputStream, data: bytes) -> None:
        """Add the next bytes of one stream."""
        self._streams[stream].append(data)

    def result(self) -> Captured:
        """Return what was kept so far."""
        stdout, stderr = self._streams[OutputStream.STDOUT], self._streams[OutputStream.STDERR]
        return Captured(stdout.kept(), stderr.kept(), stdout.dropped + stderr.dropped)


class _StreamCapture:
    __slots__ = ("_head", "_head_bytes", "_seen", "_tail", "_tail_bytes")

    def __init__(self, head_bytes: int, tail_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._seen = 0

    def append(self, data: bytes) -> None:
        self._seen += len(data)
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Trim only when the tail is a quarter too long: that keeps the cost per byte constant.
        if len(self._tail) > self._tail_bytes + self._tail_bytes // 4:
            self._trim()

    def kept(self) -> bytes:
        self._trim()
        return bytes(self._head + self._tail)

    @property
    def dropped(self) -> int:
        return self._seen - len(self._head) - min(len(self._tail), self._tail_bytes)

    def _trim(self) -> None:
        excess = len(self._tail) - self._tail_bytes
        if excess > 0:
            del self._tail[:excess]
