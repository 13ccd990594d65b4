"""The two outputs of this process: what is a terminal, and how data and messages are written.

Data goes to standard output, messages to standard error. Files get bytes as they are; terminals get them harmless.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
from typing import Final

from oneshot_queue.cli.output.escape import escaped

_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36, "dim": 2, "bold": 1}


def prepare() -> None:
    """Make both outputs safe to write to, whatever the caller handed over."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # A closed descriptor's number would be given to the next connection, and output be written to Redis.
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
    """Colour a text for a descriptor, if it is a terminal and ``NO_COLOR`` does not forbid it."""
    if not is_terminal(number) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def put(line: str) -> None:
    """Write a line of data that is already harmless."""
    print(line, flush=True)


def say(message: str) -> None:
    """Write a message for people; what it quotes from strangers is escaped, its own line ends stay."""
    if sys.stderr is None:
        return
    text = "\n".join(escaped(line) for line in message.split("\n"))
    try:
        print(f"{coloured('oneshot-queue:', 'dim', 2)} {text}", file=sys.stderr, flush=True)
    except OSError:
        pass  # Nobody is left to tell, and the exit code tells the same.


def write_all(number: int, data: bytes) -> None:
    """Write bytes at once, as they are.

    Raises:
        BrokenPipeError: Nobody reads it any more.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(number, rest) :]
        except BlockingIOError:
            # Another program that shares the descriptor made it non-blocking.
            select.select([], [number], [])
