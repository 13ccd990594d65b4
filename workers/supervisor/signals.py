"""The signals of a supervisor, as a file that a selector can wait for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

REQUESTS_TO_STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_CAUGHT: Final = (*REQUESTS_TO_STOP, signal.SIGCHLD)
_MAX_PENDING: Final = 4_096


class CaughtSignals:
    """The signals that have arrived since the last call of ``take``.

    Attributes:
        file: Readable when there is one.
    """

    def __init__(self, file: int) -> None:
        self.file = file

    def take(self) -> list[int]:
        """Take the numbers of the signals since the last call, in order."""
        try:
            return list(os.read(self.file, _MAX_PENDING))
        except BlockingIOError:
            return []


@contextmanager
def caught_signals() -> Iterator[CaughtSignals]:
    """Make SIGTERM, SIGINT, SIGHUP and SIGCHLD do nothing but wake a selector.

    It sets handlers rather than SIG_IGN or a signal mask, because workers and jobs would inherit those.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    handlers = {number: signal.signal(number, _do_nothing) for number in _CAUGHT}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield CaughtSignals(reading)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        os.close(reading)
        os.close(writing)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    del number, frame
