"""Checks what the engine needs from the kernel, the event loop and its settings."""

from __future__ import annotations

import asyncio
import os

from oneshot_queue.errors import InvalidSetting
from oneshot_queue.pidfd import P_PIDFD, pidfd_open


def require_pidfds() -> None:
    """Check that the kernel has pidfds: without them, a process id may be reused before it is signalled.

    Raises:
        RuntimeError: The kernel is not Linux 5.4 or later.
    """
    try:
        fd = pidfd_open(os.getpid())
    except (OSError, AttributeError) as error:
        raise RuntimeError("running commands needs Linux 5.4 or later (pidfd_open)") from error
    try:
        os.waitid(P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        pass  # The kernel supports the call: it says that this process is not its own child.
    except OSError as error:
        raise RuntimeError("running commands needs Linux 5.4 or later (waitid on a pidfd)") from error
    finally:
        os.close(fd)


def usable_concurrency(wanted: int | None) -> int:
    """Return how many commands may run at once. ``None`` means one per CPU that this process may use.

    Raises:
        InvalidSetting: ``wanted`` is not an integer of at least 1.
    """
    if wanted is None:
        return len(os.sched_getaffinity(0))
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise InvalidSetting("max_concurrent", f"{wanted!r} must be an integer of at least 1")
    return wanted


def has_running_loop() -> bool:
    """Return whether an asyncio event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def require_asyncio() -> None:
    """Check that asyncio runs here: pipes and processes are watched by its event loop.

    Raises:
        RuntimeError: No asyncio event loop is running, for example under trio.
    """
    if not has_running_loop():
        raise RuntimeError(
            "running commands needs an asyncio event loop, and none is running; use anyio's asyncio backend"
        )
