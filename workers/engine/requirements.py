"""What has to be so before a command can be run, said in words when it is not."""

from __future__ import annotations

import asyncio
import os

from oneshot_queue.errors import InvalidSetting
from oneshot_queue.pidfd import P_PIDFD, pidfd_open


def require_pidfds() -> None:
    """Refuse to work where a process can only be named by a number.

    Raises:
        RuntimeError: This is not Linux 5.4 or later.
    """
    try:
        fd = pidfd_open(os.getpid())
    except (OSError, AttributeError) as error:
        raise RuntimeError("running commands needs Linux 5.4 or later (pidfd_open)") from error
    try:
        os.waitid(P_PIDFD, fd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        pass  # This process is not its own child: the kernel knew what was asked.
    except OSError as error:
        raise RuntimeError("running commands needs Linux 5.4 or later (waitid on a pidfd)") from error
    finally:
        os.close(fd)


def usable_concurrency(wanted: int | None) -> int:
    """How many commands may run at once; the CPUs this process may use, if nothing was said.

    Raises:
        InvalidSetting: It is below 1, or no whole number.
    """
    if wanted is None:
        return len(os.sched_getaffinity(0))
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise InvalidSetting("max_concurrent", f"{wanted!r} must be a whole number from 1")
    return wanted


def has_running_loop() -> bool:
    """Whether an asyncio event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def require_asyncio() -> None:
    """Refuse another event loop than asyncio's: pipes and processes are watched through its selector.

    Raises:
        RuntimeError: No asyncio loop runs here; under trio, for example.
    """
    if not has_running_loop():
        raise RuntimeError("commands are run by an asyncio event loop, and none runs here; use anyio's asyncio backend")
