"""Where the local broker keeps its files, and whether that place is private."""

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

# The kernel takes at most 107 bytes for the path of a unix socket, and some systems fewer.
MAX_SOCKET_PATH_BYTES: Final = 100


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's state is kept; nothing is created or looked at.

    Raises:
        BrokerRefused: The user has no home.
    """
    configured = environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and must be ignored.
    if configured.startswith("/"):
        return Path(configured) / "oneshot-queue"
    try:
        return Path.home() / ".local" / "state" / "oneshot-queue"
    except RuntimeError:
        advice = "set XDG_STATE_HOME to a folder you may write in"
        raise BrokerRefused("unix://", f"user {os.geteuid()} has no home to keep its state in", advice) from None


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """The places of one local broker.

    Attributes:
        path: The private folder.
        socket: Where the server listens: inside ``path``, or in a short private folder if that would be too long.
    """

    path: Path
    socket: Path

    @classmethod
    def locate(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Find the places for this user; nothing is created or looked at."""
        return cls.at(state_folder(environ))

    @classmethod
    def at(cls, path: Path) -> Self:
        """The places of the broker whose private folder is ``path``."""
        socket = path / "broker.sock"
        if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
            socket = _short_folder(path) / "broker.sock"
        return cls(path=path, socket=socket)

    @property
    def url(self) -> str:
        """The address of the broker, as redis-py takes it."""
        return f"unix://{quote(os.fsencode(self.socket))}"

    @property
    def lock(self) -> Path:
        """Held while somebody starts or stops the server."""
        return self.path / "broker.lock"

    @property
    def alive(self) -> Path:
        """Held by the server as long as it lives."""
        return self.path / "broker.alive"

    @property
    def pid(self) -> Path:
        """The server's process number and start time, a note."""
        return self.path / "broker.pid"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.path / "broker.log"

    @property
    def data(self) -> Path:
        """The server's own files."""
        return self.path / "data"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Say of a file that cannot be read, made or locked which folder it is about."""
        try:
            yield
        except BrokerError:
            raise  # Some of these are OSErrors too.
        except OSError as problem:
            raise BrokerRefused(
                self.url, f"its folder {self.path} cannot be used: {problem}", "check space and permissions there"
            ) from problem

    def is_there(self) -> bool:
        """Whether the folder exists, and is private.

        Raises:
            BrokerRefused: It, or the socket's own folder, exists and is a link, another user's, or open to others.
        """
        self._is_private(self.socket.parent)
        return self._is_private(self.path)

    def create(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            BrokerRefused: It cannot be made, or what stands there is not private.
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
                    f"its folder {folder} cannot be made: {problem.strerror}",
                    "set XDG_STATE_HOME to a folder you may write in",
                ) from problem
            # The data may lie elsewhere: a link inside the private folder can only be the owner's own doing.
            if folder != self.data:
                self._is_private(folder)

    def _is_private(self, folder: Path) -> bool:
        # lstat: a link could be pointed elsewhere by whoever owns the place it stands in.
        try:
            found = folder.lstat()
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise BrokerRefused(
                self.url, f"{folder} cannot be looked at: {problem.strerror}", "check who owns the folders above it"
            ) from problem
        if not stat.S_ISDIR(found.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no folder"
            raise BrokerRefused(self.url, f"{folder} is {what}", "move it away, or set XDG_STATE_HOME elsewhere")
        if found.st_uid != os.geteuid():
            raise BrokerRefused(
                self.url,
                f"{folder} belongs to user {found.st_uid}, and you are {os.geteuid()}",
                "set XDG_STATE_HOME to a folder of your own",
            )
        if found.st_mode & 0o077:
            raise BrokerRefused(
                self.url,
                f"{folder} is open to others (mode {stat.S_IMODE(found.st_mode):04o})",
                f"look at what is in it, then: chmod 700 {folder}",
            )
        return True


def _short_folder(path: Path) -> Path:
    # Not under $XDG_RUNTIME_DIR or $TMPDIR: every shell must come to the same place, and a log-out must not remove it.
    from hashlib import sha256

    digest = sha256(os.fsencode(path)).hexdigest()[:16]
    return Path("/tmp") / f"oneshot-queue-{os.geteuid()}-{digest}"  # noqa: S108 (made 0700, and its owner is checked)
