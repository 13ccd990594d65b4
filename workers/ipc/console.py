"""Lines for the person who started it, on standard error."""

from __future__ import annotations

import sys
from typing import TextIO


class Console:
    """Writes lines; quiet, only what needs a person."""

    def __init__(self, *, is_quiet: bool, stream: TextIO | None = None) -> None:
        self.is_quiet = is_quiet
        self._stream = stream or sys.stderr

    def say(self, line: str) -> None:
        """One line, unless quiet."""
        if not self.is_quiet:
            self.warn(line)

    def warn(self, line: str) -> None:
        """One line, in any case."""
        try:
            # In one piece: the lines of several processes must not run into each other.
            self._stream.write(f"{printable(line)}\n")
            self._stream.flush()
        except OSError:
            # The terminal or pipe is gone. The jobs are not, and their states tell the same.
            self.is_quiet = True


def printable(line: str) -> str:
    """Escape what a terminal would act on: a job's words are anybody's."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def describe_jobs(count: int) -> str:
    """``1 job``, ``2 jobs``."""
    return "1 job" if count == 1 else f"{count} jobs"
