"""A job's output, chunk by chunk, to where it belongs: stdout to stdout, stderr to stderr."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from oneshot_queue.cli.output.escape import TerminalOutput
from oneshot_queue.cli.output.terminal import is_terminal, say, write_all
from oneshot_queue.clock import rfc3339
from oneshot_queue.task_events import OutputStream

if TYPE_CHECKING:
    from oneshot_queue.client.verbs.logs import OutputChunk
    from oneshot_queue.jobs import JobRecord

BOTH: Final = (OutputStream.STDOUT, OutputStream.STDERR)
_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")
_NAMES: Final[Mapping[OutputStream, str]] = {OutputStream.STDOUT: "stdout", OutputStream.STDERR: "stderr"}


class OutputPrinter:
    """Prints chunks unbuffered: byte for byte into files and pipes, made harmless on a terminal.

    Args:
        streams: The streams to print; others are only counted.
        is_raw: Byte for byte on a terminal too.
        has_times: Begin each line with the time at which its first byte was read.
    """

    def __init__(
        self, *, streams: Collection[OutputStream] = BOTH, is_raw: bool = False, has_times: bool = False
    ) -> None:
        self._streams = streams
        self._has_times = has_times
        self._at_line_start = dict.fromkeys(BOTH, True)
        self._harmless = {stream: TerminalOutput() for stream in streams if is_terminal(int(stream)) and not is_raw}
        self._accounted = 0
        self._attempt: int | None = None

    def show(self, chunk: OutputChunk) -> None:
        """Print a chunk, and say first if bytes are missing in front of it.

        Raises:
            BrokenPipeError: Nobody reads it any more.
        """
        if chunk.attempt != self._attempt:
            self._begin(chunk.attempt)
        self._accounted += len(chunk.data) + chunk.missing
        if chunk.stream not in self._streams:
            return
        if chunk.missing:
            say(f"{chunk.missing} bytes of {_NAMES[chunk.stream]} are missing here: they were not kept")
        data = self._with_times(chunk) if self._has_times else chunk.data
        harmless = self._harmless.get(chunk.stream)
        self._write(chunk.stream, data if harmless is None else _encoded(harmless.feed(data)))

    def end(self, record: JobRecord | None = None) -> None:
        """Print what was kept back; given the record of an ended job, say if bytes are missing at the end.

        Raises:
            BrokenPipeError: Nobody reads it any more.
        """
        for stream, harmless in self._harmless.items():
            self._write(stream, _encoded(harmless.end()))
        if record is not None and record.output.bytes > self._accounted:
            say(f"{record.output.bytes - self._accounted} bytes of output are missing at the end: they were not kept")

    def _begin(self, attempt: int) -> None:
        if self._attempt is not None:
            say(f"attempt {attempt} begins here")
        self._attempt, self._accounted = attempt, 0

    def _with_times(self, chunk: OutputChunk) -> bytes:
        stamp = f"{rfc3339(chunk.at_ms)} ".encode()
        pieces = []
        for line in _LINE.findall(chunk.data):
            if self._at_line_start[chunk.stream]:
                pieces.append(stamp)
            pieces.append(line)
            self._at_line_start[chunk.stream] = line.endswith(b"\n")
        return b"".join(pieces)

    @staticmethod
    def _write(stream: OutputStream, data: bytes) -> None:
        try:
            write_all(int(stream), data)
        except OSError as problem:
            if problem.errno == errno.EIO:
                # The terminal was closed.
                raise BrokenPipeError(*problem.args) from problem
            raise


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
