"""The server as a process: which one it is, beyond a number that may be somebody else's by now."""

from __future__ import annotations

import os
import select
import signal
import stat
from pathlib import Path
from typing import Final

from oneshot_queue.local_broker.files import replace_file
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.pidfd import pidfd_open, pidfd_send_signal

# A variable of the server's environment: the private folder it serves.
MARKER: Final = "OSQ_LOCAL_BROKER"


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; with the number, unique. ``None`` if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may contain anything; what follows the last one is numbers.
    return int(fields[fields.rindex(b")") + 2 :].split()[19])


def note_pid(folder: BrokerFolder, pid: int) -> None:
    """Leave a note of which process the server is."""
    ticks = start_ticks(pid)
    if ticks is not None:
        replace_file(folder.pid, f"{pid} {ticks}\n".encode())


def open_noted(folder: BrokerFolder) -> int | None:
    """Open the process of the note, if it is still the very server of this folder.

    Returns:
        A pidfd of the process that has the noted number, the noted start time and this folder's ``alive`` lock open;
        ``None`` if there is none.
    """
    try:
        pid, ticks = (int(word) for word in folder.pid.read_text().split())
        descriptor = pidfd_open(pid)
    except (OSError, ValueError):
        return None
    # Checked after it was opened: what the descriptor means can no longer change.
    if start_ticks(pid) == ticks and holds_open(pid, folder.alive.stat()):
        return descriptor
    os.close(descriptor)
    return None


def wait_gone(pidfd: int, timeout_s: float) -> bool:
    """Wait until a process has ended; whether it did in time."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(timeout_s * 1000))


def ask_to_end(pidfd: int) -> None:
    """Send SIGTERM, at which a server saves and ends."""
    try:
        pidfd_send_signal(pidfd, signal.SIGTERM)
    except ProcessLookupError:
        pass


def is_local_broker(pid: int) -> bool:
    """Whether a process is a local broker's server, which outlives the job it may have been started from.

    Asked by a worker about an orphan that it does not know. True from the server's very first moment, before it
    listens. A job cannot be a broker by accident: the process must carry the mark *and* hold the ``broker.alive`` of
    the private folder that the mark names, which must be this user's own.
    """
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        folder = next(each for each in environ if each.startswith(MARKER.encode() + b"="))[len(MARKER) + 1 :]
        alive = os.lstat(os.path.join(folder, b"broker.alive"))
        return stat.S_ISREG(alive.st_mode) and alive.st_uid == os.geteuid() and holds_open(pid, alive)
    except (OSError, StopIteration):
        return False


def holds_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has this file open; no, if it is gone or not ours to ask."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if os.path.samestat(descriptor.stat(), file):
                return True
        except OSError:
            continue  # Closed since it was listed.
    return False
