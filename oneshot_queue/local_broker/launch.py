"""Starting the server's process so that nothing of the caller holds it, and nothing of it holds the caller."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.processes import MARKER

_MAX_LOG_BYTES: Final = 256 * 1024
# A long-lived process keeps no secrets of the shell that happened to start it. What is here, a program or an
# interpreter may need to find its libraries.
_KEPT: Final = ("HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "TZ", "USER")


def launch(command: Sequence[str], folder: BrokerFolder, alive: int) -> tuple[int, int]:
    """Start the server.

    It gets a session of its own, no terminal, the private folder as its place, and a shell's background job as its
    birth: its parent is gone at once, so that it is nobody's child to wait for and no session's leader.

    Args:
        command: The argv.
        folder: Its places.
        alive: The lock that the server inherits and holds until it ends.

    Returns:
        Its process (0 if there is none), and where in the log its own lines begin.

    Raises:
        OSError: The shell or the log cannot be opened.
    """
    rotate_log(folder.log)
    log = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        begins = os.fstat(log).st_size
        shell = subprocess.run(
            ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder.path,
            env=environment(os.environ, folder),
            start_new_session=True,
            umask=0o077,
            pass_fds=[alive],
            check=False,
        )
    finally:
        os.close(log)
    # A shell that could not start anything has said why in the log, and nobody holds the lock.
    return int(shell.stdout or 0), begins


def environment(environ: Mapping[str, str], folder: BrokerFolder) -> dict[str, str]:
    """What the server sees of the caller's environment: no ``ONESHOT_…``, and a mark that says what it is."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    if "PYTHONPATH" in kept:
        # What was relative to the caller's place would not be found from the server's.
        kept["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, kept["PYTHONPATH"].split(os.pathsep)))
    # Redis 7 refuses to start with a locale that the machine does not have.
    return kept | {"LC_ALL": "C", MARKER: os.fspath(folder.path)}


def rotate_log(log: Path) -> None:
    """Put a log that has grown aside, replacing the one put aside before."""
    try:
        if log.lstat().st_size > _MAX_LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
    except FileNotFoundError:
        pass
