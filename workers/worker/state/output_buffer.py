"""Buffers a job's output until it is sent to Redis, in bounded memory, however long Redis is unreachable.

Redis keeps the first 256 KiB (the head) of each of the two streams, and the last 4 MiB in at most 16,384 chunks (the
tail). The output that waits to be sent is bounded too: never much more than 4 MiB of each stream's tail, because older
output would be trimmed anyway. When many jobs write faster than Redis accepts output, they share a common limit.
Every dropped byte is counted, and the offsets of the chunks show readers where bytes are missing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from oneshot_queue.outcomes import HEAD_BYTES, TAIL_BYTES
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import INLINE_BYTES, Chunk

TAIL_CHUNKS: Final = 16_384
CHUNK_BYTES: Final = 65_536
BATCH_BYTES: Final = 524_288
BATCH_CHUNKS: Final = 1_000
WAITING_PIECES: Final = 4_096
"""Pieces that wait in the order of their arrival; beyond that number, each stream's new pieces are merged."""
ALL_WAITING_BYTES: Final = 33_554_432
"""Approximate limit for the waiting bytes of all jobs' tails together."""


class Allowance:
    """Limits the waiting bytes of the tails of all jobs of one worker.

    Attributes:
        used: Number of waiting bytes.
        holders: Number of jobs that have waiting bytes.
    """

    def __init__(self) -> None:
        self.used = 0
        self.holders = 0

    @property
    def limit(self) -> int:
        """Most bytes of one stream that may wait: what Redis would keep, or an equal share above the common limit."""
        if self.used <= ALL_WAITING_BYTES:
            return TAIL_BYTES
        return max(CHUNK_BYTES, ALL_WAITING_BYTES // max(1, self.holders))


@dataclass(slots=True)
class _Piece:
    """A chunk that may still grow until it is taken."""

    ordinal: int
    stream: OutputStream
    offset: int
    at_ms: int
    data: bytearray
    in_head: bool

    def chunk(self) -> Chunk:
        return Chunk(self.ordinal, self.stream, self.offset, self.at_ms, bytes(self.data))


@dataclass(slots=True)
class _Tail:
    """The chunks that Redis keeps as the tail of one stream: ordinals and sizes, oldest first."""

    sent: deque[tuple[int, int]] = field(default_factory=deque)
    size: int = 0
    keep_from: int = 0

    def add(self, ordinal: int, size: int) -> list[tuple[int, int]]:
        """Add a chunk; returns the chunks that are trimmed from the front to make room."""
        self.sent.append((ordinal, size))
        self.size += size
        fallen = []
        while self.size - self.sent[0][1] >= TAIL_BYTES or len(self.sent) > TAIL_CHUNKS:
            fallen.append(self.sent.popleft())
            self.size -= fallen[-1][1]
            self.keep_from = self.sent[0][0]
        return fallen

    def take_back(self, fallen: list[tuple[int, int]]) -> None:
        """Undo the latest ``add``, which returned ``fallen``: the chunk was not stored."""
        self.size -= self.sent.pop()[1]
        self.sent.extendleft(reversed(fallen))
        self.size += sum(size for _, size in fallen)
        if fallen:
            self.keep_from = fallen[0][0]


@dataclass(frozen=True, slots=True)
class OutputBatch:
    """The output that is sent to Redis in one call.

    Attributes:
        chunks: Each with whether it belongs to the head.
        total: Bytes written so far, both streams.
        dropped: Bytes of ``total`` that are not kept once this batch is stored.
        tail_from: First ordinal to keep in the tails of stdout and of stderr.
    """

    chunks: tuple[tuple[Chunk, bool], ...]
    total: int
    dropped: int
    tail_from: tuple[int, int]


class OutputBuffer:
    """One attempt's output between its pipes and Redis. At most one batch is in flight."""

    def __init__(self) -> None:
        self._allowance = Allowance()
        self.total = 0
        self.dropped = 0
        self.in_flight: OutputBatch | None = None
        self.was_sent = False
        self._ordinal = 0
        self._waiting: deque[_Piece] = deque()
        self._waiting_tail: defaultdict[OutputStream, int] = defaultdict(int)
        self._latest: dict[OutputStream, _Piece] = {}
        self._head_room: defaultdict[OutputStream, int] = defaultdict(lambda: HEAD_BYTES)
        self._tails: defaultdict[OutputStream, _Tail] = defaultdict(_Tail)
        self._added: list[tuple[_Tail, list[tuple[int, int]]]] = []

    @property
    def is_waiting(self) -> bool:
        """Whether there is output to send."""
        return bool(self._waiting)

    @property
    def kept(self) -> int:
        """Bytes that are, or will be, readable."""
        return self.total - self.dropped

    def share(self, allowance: Allowance) -> None:
        """Count the waiting bytes against this allowance from now on."""
        waiting = sum(self._waiting_tail.values())
        for each, sign in ((self._allowance, -1), (allowance, 1)):
            each.used += sign * waiting
            each.holders += sign * bool(waiting)
        self._allowance = allowance

    def append(self, stream: OutputStream, offset: int, data: bytes, at_ms: int) -> None:
        """Add output; never blocks, and drops the oldest output beyond the limits."""
        self.total += len(data)
        room = self._head_room[stream]
        if room:
            self._head_room[stream] = max(0, room - len(data))
            self._put(stream, offset, data[:room], at_ms, in_head=True)
            offset, data = offset + room, data[room:]
        if data:
            self._put(stream, offset, data, at_ms, in_head=False)
            self._weigh(stream, len(data))
            limit = self._allowance.limit
            # Drop only when the limit is exceeded by a quarter: that keeps the cost per byte constant.
            if self._waiting_tail[stream] > limit + limit // 4:
                self._drop_oldest(stream, limit)

    def take(self, most: int | None = None) -> OutputBatch | None:
        """Return the batch in flight, or the next one to send; ``None`` if there is nothing to send.

        Args:
            most: End the batch at this many bytes, instead of ``BATCH_BYTES``.
        """
        if self.in_flight is not None or not self._waiting:
            return self.in_flight
        chunks: list[tuple[Chunk, bool]] = []
        size = 0
        while self._waiting and size < (most or BATCH_BYTES) and len(chunks) < BATCH_CHUNKS:
            piece = self._waiting.popleft()
            size += len(piece.data)
            if self._latest.get(piece.stream) is piece:
                del self._latest[piece.stream]
            if not piece.in_head:
                self._weigh(piece.stream, -len(piece.data))
                tail = self._tails[piece.stream]
                fallen = tail.add(piece.ordinal, len(piece.data))
                self._added.append((tail, fallen))
                self.dropped += sum(lost for _, lost in fallen)
            chunks.append((piece.chunk(), piece.in_head))
        tail_from = (self._tails[OutputStream.STDOUT].keep_from, self._tails[OutputStream.STDERR].keep_from)
        self.in_flight = OutputBatch(tuple(chunks), self.total - self._still_waiting(), self.dropped, tail_from)
        return self.in_flight

    def stored(self) -> None:
        """Forget the batch in flight, which was stored."""
        self.in_flight, self.was_sent = None, True
        self._added.clear()

    def refused(self) -> None:
        """Drop the batch in flight, which will never be stored, and count its bytes."""
        if self.in_flight is not None:
            for tail, fallen in reversed(self._added):
                tail.take_back(fallen)
                self.dropped -= sum(lost for _, lost in fallen)
            self._added.clear()
            self.dropped += sum(len(chunk.data) for chunk, _ in self.in_flight.chunks)
            self.in_flight = None

    def take_inline(self) -> list[Chunk] | None:
        """Return all output if it is small and none of it was sent; ``None`` if it has to be sent in batches."""
        if self.was_sent or self.in_flight is not None or self.total > INLINE_BYTES:
            return None
        chunks = [piece.chunk() for piece in self._waiting]
        return chunks if len(chunks) <= 100 else None

    def _weigh(self, stream: OutputStream, change: int) -> None:
        waited = any(self._waiting_tail.values())
        self._waiting_tail[stream] += change
        self._allowance.used += change
        self._allowance.holders += any(self._waiting_tail.values()) - waited

    def _put(self, stream: OutputStream, offset: int, data: bytes, at_ms: int, *, in_head: bool) -> None:
        latest = self._latest.get(stream)
        if (
            latest is not None
            and (latest is self._waiting[-1] or len(self._waiting) >= WAITING_PIECES)
            and latest.in_head is in_head
            and len(latest.data) + len(data) <= CHUNK_BYTES
            and latest.offset + len(latest.data) == offset
        ):
            latest.data += data
            return
        for start in range(0, len(data), CHUNK_BYTES):
            part = bytearray(data[start : start + CHUNK_BYTES])
            self._ordinal += 1
            self._latest[stream] = piece = _Piece(self._ordinal, stream, offset + start, at_ms, part, in_head)
            self._waiting.append(piece)

    def _drop_oldest(self, stream: OutputStream, limit: int) -> None:
        kept: deque[_Piece] = deque()
        excess = self._waiting_tail[stream] - limit
        for piece in self._waiting:
            if piece.stream is not stream or piece.in_head or excess < len(piece.data):
                kept.append(piece)
                if piece.stream is stream and not piece.in_head:
                    excess = 0  # drop from the front only: after the first piece that stays, all stay
                continue
            excess -= len(piece.data)
            self._weigh(stream, -len(piece.data))
            self.dropped += len(piece.data)
        self._waiting = kept

    def _still_waiting(self) -> int:
        return sum(len(piece.data) for piece in self._waiting)
