"""How the server's process is started, detached from the caller."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.processes import MARKER

_MAX_LOG_BYTES: Final = 256 * 1024
# A long-lived process must not keep secrets of the shell that happened to start it. A program or an interpreter may
# need these to find its libraries.
_KEPT: Final = ("HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "TZ", "USER")


def launch(command: Sequence[str], folder: BrokerFolder, alive: int) -> tuple[int, int]:
    """Start the server, detached.

    It runs in a new session without a terminal, in the private folder, as a background job of a shell. The shell exits
    at once, so the server is not a session leader, and the caller need not wait for it.

    Args:
        command: The argv.
        folder: The broker's paths.
        alive: A descriptor of the lock that the server inherits and holds until it ends.

    Returns:
        The server's process id (0 if it was not started), and the offset in the log where its output begins.

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
    # A shell that could not start the program has logged why, and the lock is free.
    return int(shell.stdout or 0), begins


def environment(environ: Mapping[str, str], folder: BrokerFolder) -> dict[str, str]:
    """The server's environment: a few of the caller's variables, none of ``ONESHOT_…``, and the marker of a broker."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    if "PYTHONPATH" in kept:
        # The server runs in another directory, where relative paths would lead nowhere.
        kept["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, kept["PYTHONPATH"].split(os.pathsep)))
    # Redis 7 refuses to start with a locale that the machine does not have.
    return kept | {"LC_ALL": "C", MARKER: os.fspath(folder.path)}


def rotate_log(log: Path) -> None:
    """Rename a log that has grown too large, replacing the one renamed before."""
    try:
        if log.lstat().st_size > _MAX_LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
    except FileNotFoundError:
        pass
