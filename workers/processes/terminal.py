"""Opens a pseudo-terminal for a command that would buffer its output on a pipe.

Only the outputs are the terminal. It is not a controlling terminal: it sends no signals, and input comes from a pipe.
"""

from __future__ import annotations

import errno
import os
import socket
import termios
from typing import Final

from oneshot_queue.workers.processes.spawn_errors import NOT_EXECUTABLE, SpawnRefused

SIZE: Final = (24, 80)
"""Rows and columns."""

_OUTPUT_FLAGS: Final = 1  # index in the list that tcgetattr returns


def open_terminal() -> tuple[int, int]:
    """Open a terminal that passes newlines through unchanged. Return our end and the command's, both close-on-exec.

    Raises:
        OSError: No descriptor or terminal is free now.
        SpawnRefused: This machine has no pseudo-terminals.
    """
    try:
        ours, theirs = os.openpty()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.ENODEV):
            problem = f"{socket.gethostname()}: cannot open a pseudo-terminal: {error.strerror}; run it without one"
            raise SpawnRefused(problem, NOT_EXECUTABLE) from error
        raise
    try:
        attributes = termios.tcgetattr(theirs)
        attributes[_OUTPUT_FLAGS] &= ~termios.OPOST
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        termios.tcsetwinsize(theirs, SIZE)
    except termios.error as error:
        os.close(ours)
        os.close(theirs)
        raise OSError(*error.args) from error
    return ours, theirs
