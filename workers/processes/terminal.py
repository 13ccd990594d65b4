"""A pseudo-terminal for a command that would hold its output back on a pipe.

Only its outputs are one, and it is no controlling terminal: nobody types, nobody hangs up.
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

_OUTPUT_FLAGS: Final = 1  # their place in what tcgetattr answers


def open_terminal() -> tuple[int, int]:
    """Our end and the command's, neither of them inherited by a child; newlines pass through as they are.

    Raises:
        OSError: This machine has no descriptor, or no terminal, to spare now.
        SpawnRefused: It has none at all.
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
