"""Which process the server is. A process id alone is no proof: the kernel may have reused it."""

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

# The environment variable of a local broker's server; its value is the private folder that it serves.
MARKER: Final = "OSQ_LOCAL_BROKER"


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; unique together with its id. ``None`` if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may contain anything; after the last parenthesis there are only numbers.
    return int(fields[fields.rindex(b")") + 2 :].split()[19])


def record_pid(folder: BrokerFolder, pid: int) -> None:
    """Record the server's process id and start time."""
    ticks = start_ticks(pid)
    if ticks is not None:
        replace_file(folder.pid, f"{pid} {ticks}\n".encode())


def open_recorded(folder: BrokerFolder) -> int | None:
    """Open the recorded process, if it is still the server of this folder.

    Returns:
        A pidfd of the process that has the recorded id and start time and has this folder's ``alive`` lock open;
        ``None`` if there is none.
    """
    try:
        pid, ticks = (int(word) for word in folder.pid.read_text().split())
        descriptor = pidfd_open(pid)
    except (OSError, ValueError):
        return None
    # Checked after opening: from then on the descriptor cannot refer to another process.
    if start_ticks(pid) == ticks and holds_open(pid, folder.alive.stat()):
        return descriptor
    os.close(descriptor)
    return None


def wait_for_exit(pidfd: int, timeout_s: float) -> bool:
    """Wait until a process has ended, and return whether it did in time."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(timeout_s * 1000))


def terminate(pidfd: int) -> None:
    """Send SIGTERM, which makes a server save its data and exit."""
    try:
        pidfd_send_signal(pidfd, signal.SIGTERM)
    except ProcessLookupError:
        pass


def is_local_broker(pid: int) -> bool:
    """Whether a process is a local broker's server, which outlives the job that may have started it.

    A worker asks this about an orphan that it does not know. True from the start of the server, before it listens. A
    job cannot be mistaken for a broker: the process must have the marker in its environment *and* hold ``broker.alive``
    in the private folder that the marker names, and this user must own that file.
    """
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        folder = next(each for each in environ if each.startswith(MARKER.encode() + b"="))[len(MARKER) + 1 :]
        alive = os.lstat(os.path.join(folder, b"broker.alive"))
        return stat.S_ISREG(alive.st_mode) and alive.st_uid == os.geteuid() and holds_open(pid, alive)
    except (OSError, StopIteration):
        return False


def holds_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has this file open. False if it is gone or belongs to another user."""
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
