"""Make this process a parent that loses no child: orphans come to it, not to init, and every status is kept for it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SET_CHILD_SUBREAPER: Final = 36
_GET_CHILD_SUBREAPER: Final = 37

_users_lock = threading.Lock()
_users: list[bool] = []
"""For every block that is open: whether the flag was set when it was entered."""


@contextmanager
def child_subreaper() -> Iterator[None]:
    """Be a child subreaper inside the block; afterwards be again what this process was.

    The flag belongs to the whole process, so blocks in several threads count, and the last one restores it.

    Raises:
        OSError: The kernel refused (before Linux 3.4).
    """
    with _users_lock:
        _users.append(_is_subreaper())
        _set_subreaper(True)
    try:
        yield
    finally:
        with _users_lock:
            # Which block leaves first does not matter: only the one entered first saw the flag as it was before.
            was_set = _users.pop() if len(_users) > 1 else _users.pop(0)
            if not _users:
                _set_subreaper(was_set)


@contextmanager
def child_statuses() -> Iterator[None]:
    """Get the exit statuses of children inside the block, though this process may have been started to ignore them.

    Where SIGCHLD is ignored, the kernel throws statuses away; children inherit that, and their own waits fail.

    Raises:
        RuntimeError: SIGCHLD is ignored, and only the main thread could change that.
    """
    found = signal.getsignal(signal.SIGCHLD)
    if found is not signal.SIG_IGN:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "SIGCHLD is ignored in this process, so no exit status can be had; reset it to SIG_DFL first"
        )
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, found)


def _is_subreaper() -> bool:
    flag = ctypes.c_int()
    _prctl(_GET_CHILD_SUBREAPER, ctypes.byref(flag))
    return bool(flag.value)


def _set_subreaper(wanted: bool) -> None:
    _prctl(_SET_CHILD_SUBREAPER, ctypes.c_ulong(wanted))


def _prctl(option: int, argument: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(ctypes.c_int(option), argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
