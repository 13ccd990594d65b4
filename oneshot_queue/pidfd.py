"""File descriptors that refer to one process, and never to a later process with the same pid (Linux 5.4).

Python builds made against old kernel headers lack both functions, even on kernels that have them. The system calls have
the same numbers on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

P_PIDFD: Final = 3
_SEND_SIGNAL: Final = 424
_OPEN: Final = 434


def pidfd_open(pid: int) -> int:
    """Open a descriptor that becomes readable when the process has exited.

    Raises:
        ProcessLookupError: The process does not exist.
        OSError: The limit of open files is reached, or the kernel is older than 5.3.
    """
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    return _call(_OPEN, pid, 0)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Send a signal to this process, and never to another that reuses its pid.

    Raises:
        ProcessLookupError: The process has exited.
        PermissionError: The process belongs to another user.
    """
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(pidfd, number)
    else:
        _call(_SEND_SIGNAL, pidfd, int(number), None, 0)


def _call(number: int, *arguments: int | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
