"""Where the local broker keeps its files, and whether those folders are private."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from oneshot_queue.errors import BrokerError, BrokerRefused

# Linux allows 107 bytes for the path of a unix socket, and some systems fewer.
MAX_SOCKET_PATH_BYTES: Final = 100


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for this user's state. Nothing is created or checked.

    Raises:
        BrokerRefused: The user has no home directory.
    """
    configured = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and must be ignored.
    if configured.startswith("/"):
        return Path(configured) / "oneshot-queue"
    try:
        return Path.home() / ".local" / "state" / "oneshot-queue"
    except RuntimeError:
        advice = "set XDG_STATE_HOME to a directory you can write to"
        raise BrokerRefused("unix://", f"user {os.geteuid()} has no home directory to keep state in", advice) from None


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """The paths of one local broker.

    Attributes:
        path: The private folder.
        socket: The server's socket: inside ``path``, or in a private folder with a short name if that is too long.
    """

    path: Path
    socket: Path

    @classmethod
    def locate(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The paths for this user. Nothing is created or checked."""
        return cls.at(state_folder(environ))

    @classmethod
    def at(cls, path: Path) -> Self:
        """The paths of the broker whose private folder is ``path``."""
        socket = path / "broker.sock"
        if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
            socket = _short_folder(path) / "broker.sock"
        return cls(path=path, socket=socket)

    @property
    def url(self) -> str:
        """The URL of the broker, as redis-py accepts it."""
        return f"unix://{quote(os.fsencode(self.socket))}"

    @property
    def lock(self) -> Path:
        """Locked while a process starts or stops the server."""
        return self.path / "broker.lock"

    @property
    def alive(self) -> Path:
        """Locked by the server while it runs."""
        return self.path / "broker.alive"

    @property
    def pid(self) -> Path:
        """The server's process id and start time."""
        return self.path / "broker.pid"

    @property
    def log(self) -> Path:
        """The server's output."""
        return self.path / "broker.log"

    @property
    def data(self) -> Path:
        """The server's own files."""
        return self.path / "data"

    @contextmanager
    def reporting_errors(self) -> Iterator[None]:
        """Turn an ``OSError`` about one of the files into a ``BrokerRefused`` that names the folder."""
        try:
            yield
        except BrokerError:
            raise  # Some of these are OSErrors too.
        except OSError as problem:
            raise BrokerRefused(
                self.url,
                f"cannot use its directory {self.path}: {problem}",
                "check its permissions and the free disk space",
            ) from problem

    def exists(self) -> bool:
        """Whether the folder exists and is private.

        Raises:
            BrokerRefused: It, or the socket's own folder, is a link, belongs to another user, or is open to others.
        """
        self._is_private(self.socket.parent)
        return self._is_private(self.path)

    def create(self) -> None:
        """Create the folder unless it exists.

        Raises:
            BrokerRefused: It cannot be created, or the existing one is not private.
        """
        for folder in dict.fromkeys((self.path, self.socket.parent, self.data)):
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700)
            except FileExistsError:
                pass
            except OSError as problem:
                raise BrokerRefused(
                    self.url,
                    f"cannot create its directory {folder}: {problem.strerror}",
                    "set XDG_STATE_HOME to a directory you can write to",
                ) from problem
            # The data may be elsewhere: only the owner can have put a link into the private folder.
            if folder != self.data:
                self._is_private(folder)

    def _is_private(self, folder: Path) -> bool:
        # lstat, because the owner of the parent folder could redirect a link.
        try:
            found = folder.lstat()
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise BrokerRefused(
                self.url, f"cannot read {folder}: {problem.strerror}", "check who owns its parent directories"
            ) from problem
        if not stat.S_ISDIR(found.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a directory"
            raise BrokerRefused(self.url, f"{folder} is {what}", "move it away, or change XDG_STATE_HOME")
        if found.st_uid != os.geteuid():
            raise BrokerRefused(
                self.url,
                f"{folder} belongs to user {found.st_uid}, but you are user {os.geteuid()}",
                "set XDG_STATE_HOME to a directory of your own",
            )
        if found.st_mode & 0o077:
            raise BrokerRefused(
                self.url,
                f"{folder} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})",
                f"check its contents, then run: chmod 700 {folder}",
            )
        return True


def _short_folder(path: Path) -> Path:
    # Not under $XDG_RUNTIME_DIR or $TMPDIR: every shell must use the same folder, and logging out must not remove it.
    from hashlib import sha256

    digest = sha256(os.fsencode(path)).hexdigest()[:16]
    return Path("/tmp") / f"oneshot-queue-{os.geteuid()}-{digest}"  # noqa: S108 (created 0700, and its owner is checked)
