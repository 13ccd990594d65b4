"""Writes to standard output and standard error: data, messages and colours.

Data goes to standard output, messages for people go to standard error.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
from typing import Final

from oneshot_queue.cli.output.escape import escaped

_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36, "dim": 2, "bold": 1}


def prepare_streams() -> None:
    """Make both streams safe to write to, even if the caller closed them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The next connection would get the number of a closed descriptor, and our output would go to Redis.
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text files, unless a test replaced them


def is_terminal(number: int) -> bool:
    """Whether a descriptor is a terminal."""
    return os.isatty(number)


def width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size().columns


def coloured(text: str, colour: str, number: int = 1) -> str:
    """Colour a text if the descriptor is a terminal that supports it and ``NO_COLOR`` is not set."""
    if not is_terminal(number) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def print_line(line: str) -> None:
    """Write a line of data to standard output; the caller has escaped it."""
    print(line, flush=True)


def print_message(message: str) -> None:
    """Write a message to standard error, escaped; its line ends stay."""
    if sys.stderr is None:
        return
    text = "\n".join(escaped(line) for line in message.split("\n"))
    try:
        print(f"{coloured('oneshot-queue:', 'dim', 2)} {text}", file=sys.stderr, flush=True)
    except OSError:
        pass  # Standard error is closed; the exit code reports the same.


def write_all(number: int, data: bytes) -> None:
    """Write bytes unbuffered and unchanged.

    Raises:
        BrokenPipeError: The reader has closed the pipe.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(number, rest) :]
        except BlockingIOError:
            # Another program that shares the descriptor has made it non-blocking.
            select.select([], [number], [])
