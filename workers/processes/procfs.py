"""What ``/proc`` tells about processes. Each function answers for one instant; a process that is gone is no error.

What is an error is a question that could not be asked (``OSError``: no descriptor to spare): taking that for "nobody
there" would let processes outlive their job.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final, NamedTuple

from oneshot_queue.pidfd import pidfd_open, pidfd_send_signal

_READ_BYTES: Final = 65_536
_GONE: Final = (FileNotFoundError, ProcessLookupError, PermissionError)
_EXITED: Final = "ZX"
_NS_PER_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class ProcessStatus(NamedTuple):
    """One process at one instant.

    Attributes:
        state: One letter; ``Z`` has exited and waits to be reaped. A process whose main thread alone has exited lives:
            then it is the state of another thread.
        started: Clock ticks since boot; together with ``pid`` it names one process for ever.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def is_zombie(self) -> bool:
        """Whether it has exited: nothing of it is left but its number and its status."""
        return self.state in _EXITED


class _Thread(NamedTuple):
    number: str
    state: str


class OwnChildren:
    """The direct children of this process, zombies included, read from files that stay open.

    The kernel lists children by the thread that made them, and gives orphans to the main thread. The thread that
    creates this object is taken for the one that starts the jobs. Nobody but this process can take a child off the
    list, and only by reaping it, so one reading misses none that existed when it began.
    """

    def __init__(self) -> None:
        self._files: list[int] = []
        try:
            for thread in {os.getpid(), threading.get_native_id()}:
                self._files.append(os.open(f"/proc/self/task/{thread}/children", os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            # A kernel without CONFIG_PROC_CHILDREN.
            self.close()

    def read(self) -> set[int]:
        """Their process ids."""
        if not self._files:
            return _children_by_scan()
        found: set[int] = set()
        for file in self._files:
            text = part = os.pread(file, _READ_BYTES, 0)
            while part:
                part = os.pread(file, _READ_BYTES, len(text))
                text += part
            found.update(map(int, text.split()))
        return found

    def close(self) -> None:
        """Close the files; afterwards reading is slow, not wrong."""
        while self._files:
            os.close(self._files.pop())

    def __del__(self) -> None:
        self.close()


def _children_by_scan() -> set[int]:
    statuses = (status_of(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {status.pid for status in statuses if status is not None and status.parent == os.getpid()}


def children_of(pid: int) -> list[int]:
    """The direct children of a process, zombies included; none if it is gone or has none."""
    found: list[int] = []
    for thread in _threads_of(pid):
        found.extend(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def status_of(pid: int) -> ProcessStatus | None:
    """Where a process stands, or ``None`` if there is none of this number."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    # The name stands in parentheses and may itself contain any of ") (": what counts follows the last one.
    words = text[text.rindex(b")") + 2 :].split()
    state = words[0].decode()
    if state in _EXITED and (thread := _live_thread_of(pid)) is not None:
        state = thread.state
    return ProcessStatus(pid, state, int(words[1]), int(words[2]), int(words[3]), int(words[19]))


def environment_of(pid: int) -> bytes:
    """The environment a process began with, each ``K=V`` between NUL bytes; empty if it may not be read."""
    found = _read(f"/proc/{pid}/environ")
    if not found and (thread := _live_thread_of(pid)) is not None:
        found = _read(f"/proc/{pid}/task/{thread.number}/environ")
    return b"\0" + found


def standard_files_of(pid: int) -> set[str]:
    """What a process has open as descriptors 0, 1 and 2, as ``/proc`` names it: ``pipe:[4711]``."""
    found = _standard_files_in(f"/proc/{pid}/fd")
    if not found and (thread := _live_thread_of(pid)) is not None:
        found = _standard_files_in(f"/proc/{pid}/task/{thread.number}/fd")
    return found


def _standard_files_in(folder: str) -> set[str]:
    found = set()
    for number in (0, 1, 2):
        try:
            found.add(os.readlink(f"{folder}/{number}"))
        except _GONE:
            continue
    return found


def _live_thread_of(pid: int) -> _Thread | None:
    """A thread besides the main one that has not exited: it keeps a process alive whose main thread has."""
    for number in _threads_of(pid):
        text = _read(f"/proc/{pid}/task/{number}/stat") if number != str(pid) else b""
        if text and (state := text[text.rindex(b")") + 2 :].split()[0].decode()) not in _EXITED:
            return _Thread(number, state)
    return None


def _threads_of(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except _GONE:
        return []


def ticks_now() -> int:
    """The present instant as ``/proc`` counts the start of processes."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _NS_PER_TICK


def send_signal(target: ProcessStatus, number: int) -> None:
    """Signal one process if it is still the one that was looked at; what is gone or not ours to signal is let be."""
    try:
        pidfd = pidfd_open(target.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor now holds whoever has the number; only its start proves that it is the same process.
        present = status_of(target.pid)
        if present is not None and present.started == target.started:
            pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(pidfd)


def _read(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except _GONE:
        return b""
    try:
        parts = []
        while part := os.read(file, _READ_BYTES):
            parts.append(part)
        return b"".join(parts)
    except _GONE:
        return b""
    finally:
        os.close(file)
