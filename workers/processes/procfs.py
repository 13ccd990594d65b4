"""Reads ``/proc``. Each function describes one instant, and a process that is gone is not an error.

A lookup that cannot be made raises ``OSError``, for example when no descriptor is free. To treat that as "no such
process" would let processes outlive their job.
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
        state: One letter; ``Z`` has exited and waits to be reaped. If only the main thread has exited, the process is
            alive, and this is the state of another thread.
        parent: Process id of the parent.
        group: Process group id.
        session: Session id.
        started: Clock ticks since boot. Together with ``pid`` it identifies a process uniquely until reboot.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def is_zombie(self) -> bool:
        """Whether it has exited, so that only its process id and its status are left."""
        return self.state in _EXITED


class _Thread(NamedTuple):
    number: str
    state: str


class OwnChildren:
    """Lists the direct children of this process, zombies included, from files that stay open.

    The kernel lists children by the thread that made them, and gives orphans to the main thread. Create this object in
    the thread that starts the commands. A child leaves the list only when this process reaps it, so one read misses no
    child that existed when the read began.
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
        """Return the process ids of the children."""
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
        """Close the files. A later ``read`` is slow, but still correct."""
        while self._files:
            os.close(self._files.pop())

    def __del__(self) -> None:
        self.close()


def _children_by_scan() -> set[int]:
    statuses = (status_of(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {status.pid for status in statuses if status is not None and status.parent == os.getpid()}


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process, zombies included. Empty if the process is gone."""
    found: list[int] = []
    for thread in _threads_of(pid):
        found.extend(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def status_of(pid: int) -> ProcessStatus | None:
    """Return the status of a process, or ``None`` if it does not exist."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    # The name is in parentheses and may contain ") (" itself: the fields follow the last ")".
    words = text[text.rindex(b")") + 2 :].split()
    state = words[0].decode()
    if state in _EXITED and (thread := _live_thread_of(pid)) is not None:
        state = thread.state
    return ProcessStatus(pid, state, int(words[1]), int(words[2]), int(words[3]), int(words[19]))


def environment_of(pid: int) -> bytes:
    """Return the initial environment of a process, each ``K=V`` between NUL bytes. Empty if it may not be read."""
    found = _read(f"/proc/{pid}/environ")
    if not found and (thread := _live_thread_of(pid)) is not None:
        found = _read(f"/proc/{pid}/task/{thread.number}/environ")
    return b"\0" + found


def environment_entry(name: str, value: str) -> bytes:
    """Return the bytes by which a variable is found in the result of ``environment_of``."""
    return b"\0" + os.fsencode(f"{name}={value}") + b"\0"


def standard_files_of(pid: int) -> set[str]:
    """Return the names of descriptors 0, 1 and 2 of a process, as ``/proc`` shows them: ``pipe:[4711]``."""
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
    """Find a live thread other than the main one: it keeps a process alive whose main thread has exited."""
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
    """Return the time since boot in clock ticks, the unit in which ``/proc`` shows start times."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _NS_PER_TICK


def send_signal(target: ProcessStatus, number: int) -> None:
    """Signal a process, if it is still the same one. Do nothing if it is gone or may not be signalled."""
    try:
        pidfd = pidfd_open(target.pid)
    except ProcessLookupError:
        return
    try:
        # The pidfd refers to the process that has the id now. Only the start time proves that it is the same one.
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
