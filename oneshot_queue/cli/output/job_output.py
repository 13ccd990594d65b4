"""Prints a job's output: its stdout to our stdout, its stderr to our stderr."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from oneshot_queue.cli.output.escape import OutputEscaper
from oneshot_queue.cli.output.terminal import is_terminal, print_message, write_all
from oneshot_queue.clock import rfc3339
from oneshot_queue.task_events import OutputStream

if TYPE_CHECKING:
    from oneshot_queue.client.verbs.logs import OutputChunk
    from oneshot_queue.jobs import JobRecord

BOTH: Final = (OutputStream.STDOUT, OutputStream.STDERR)
_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")
_NAMES: Final[Mapping[OutputStream, str]] = {OutputStream.STDOUT: "stdout", OutputStream.STDERR: "stderr"}


class OutputPrinter:
    """Prints chunks unbuffered: byte for byte to files and pipes, escaped on a terminal.

    Args:
        streams: The streams to print; others are only counted.
        is_raw: Do not escape on a terminal either.
        has_times: Begin each line with the time at which the worker read its first byte.
    """

    def __init__(
        self, *, streams: Collection[OutputStream] = BOTH, is_raw: bool = False, has_times: bool = False
    ) -> None:
        self._streams = streams
        self._has_times = has_times
        self._at_line_start = dict.fromkeys(BOTH, True)
        self._escapers = {stream: OutputEscaper() for stream in streams if is_terminal(int(stream)) and not is_raw}
        self._accounted = 0
        self._attempt: int | None = None

    def show(self, chunk: OutputChunk) -> None:
        """Print a chunk, after a message if bytes before it are missing.

        Raises:
            BrokenPipeError: The reader has closed the pipe.
        """
        if chunk.attempt != self._attempt:
            self._begin(chunk.attempt)
        self._accounted += len(chunk.data) + chunk.missing
        if chunk.stream not in self._streams:
            return
        if chunk.missing:
            print_message(f"[{chunk.missing} bytes of {_NAMES[chunk.stream]} omitted here: not stored]")
        data = self._with_times(chunk) if self._has_times else chunk.data
        escaper = self._escapers.get(chunk.stream)
        self._write(chunk.stream, data if escaper is None else _encoded(escaper.feed(data)))

    def end(self, record: JobRecord | None = None) -> None:
        """Print what was held back; given the record of an ended job, report bytes missing at the end.

        Raises:
            BrokenPipeError: The reader has closed the pipe.
        """
        for stream, escaper in self._escapers.items():
            self._write(stream, _encoded(escaper.end()))
        if record is not None and record.output.bytes > self._accounted:
            missing = record.output.bytes - self._accounted
            print_message(f"[{missing} bytes of output omitted at the end: not stored]")

    def _begin(self, attempt: int) -> None:
        if self._attempt is not None:
            print_message(f"[attempt {attempt} starts here]")
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
