"""Makes this process the parent of its orphaned descendants, and keeps the exit statuses of its children."""

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
"""One entry per open block: whether the flag was set when the block was entered."""


@contextmanager
def child_subreaper() -> Iterator[None]:
    """Make this process a child subreaper inside the block, and restore the flag afterwards.

    The flag belongs to the whole process. With blocks in several threads, the last one to end restores it.

    Raises:
        OSError: The kernel refused, which is the case before Linux 3.4.
    """
    with _users_lock:
        _users.append(_is_subreaper())
        _set_subreaper(True)
    try:
        yield
    finally:
        with _users_lock:
            # Blocks may end in any order. Only the first entry holds the original flag, so it is removed last.
            was_set = _users.pop() if len(_users) > 1 else _users.pop(0)
            if not _users:
                _set_subreaper(was_set)


@contextmanager
def child_statuses() -> Iterator[None]:
    """Keep the exit statuses of children inside the block, even if this process was started with SIGCHLD ignored.

    While SIGCHLD is ignored, the kernel discards statuses. Children inherit that, and their own waits fail.

    Raises:
        RuntimeError: SIGCHLD is ignored, and this is not the main thread, which alone can change that.
    """
    found = signal.getsignal(signal.SIGCHLD)
    if found is not signal.SIG_IGN:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("SIGCHLD is ignored in this process, so exit statuses are lost; reset it to SIG_DFL first")
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
