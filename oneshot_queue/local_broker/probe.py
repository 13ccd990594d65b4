"""Which server answers at the socket. Speaks plain RESP, because importing a client takes longer than the exchange."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.local_broker.folder import BrokerFolder

ANSWER_TIMEOUT_S: Final = 2.0
_MAX_REPLY_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class LocalBroker:
    """A running local broker.

    Attributes:
        url: What clients connect to: ``unix://…``.
        kind: ``redis-server``, ``valkey-server`` or ``fakeredis``.
        version: The server's own version.
        pid: Its process id.
        folder: The private folder.
        persistent: Whether jobs survive a restart of the server; fakeredis keeps them in memory only.
        started_now: Whether this call started it.
    """

    url: str
    kind: str
    version: str
    pid: int
    folder: Path
    persistent: bool
    started_now: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's identity.

    Attributes:
        pid: The listening process, as reported by the kernel; 0 if it is not visible from here (another pid namespace).
        kind: As in ``LocalBroker``.
        version: As in ``LocalBroker``.
        is_loading: Whether it is still loading its data and refuses other commands.
    """

    pid: int
    kind: str
    version: str
    is_loading: bool

    def as_broker(self, folder: BrokerFolder, *, started_now: bool) -> LocalBroker:
        """Describe the running broker that gave this answer."""
        return LocalBroker(
            url=folder.url,
            kind=self.kind,
            version=self.version,
            pid=self.pid,
            folder=folder.path,
            persistent=self.kind != "fakeredis",
            started_now=started_now,
        )


def identify(folder: BrokerFolder) -> Answer | None:
    """Identify the server that listens at the socket.

    Returns:
        Its answer, or ``None`` if no process listens.

    Raises:
        BrokerRefused: The listener is another user's process, or accepts no more clients.
        BrokerUnreachable: A process listens, but does not answer in time.
    """
    try:
        with RespClient(folder) as client:
            client.send("PING")
            client.send("INFO", "server")
            greeting = client.read_line()
            if greeting.startswith(b"-ERR"):
                raise BrokerRefused(folder.url, greeting[1:].decode(errors="replace"), "end some of its clients")
            facts = client.read_facts()
            pid = client.pid
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError, EOFError):
        return None
    if facts.get("server_name") == "fakeredis":
        kind, version = "fakeredis", facts.get("fakeredis_version", "?")
    elif facts.get("server_name") == "valkey" or "valkey_version" in facts:
        kind, version = "valkey-server", facts.get("valkey_version", "?")
    else:
        kind, version = "redis-server", facts.get("redis_version", "?")
    return Answer(pid=pid, kind=kind, version=version, is_loading=greeting.startswith(b"-LOADING"))


class RespClient:
    """One connection to the broker that speaks RESP; a context manager."""

    def __init__(self, folder: BrokerFolder) -> None:
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._received = bytearray()
        self.pid = 0
        self.set_timeout(ANSWER_TIMEOUT_S)

    def set_timeout(self, timeout_s: float) -> None:
        """Wait this long for the next replies."""
        self._timeout_s = timeout_s
        # Not settimeout(): it makes the socket non-blocking, and then a full backlog is an error instead of a wait.
        limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def __enter__(self) -> Self:
        try:
            try:
                self._socket.connect(os.fspath(self._folder.socket))
            except BlockingIOError:
                raise self._silent() from None
            peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.pid, uid, _ = struct.unpack("3i", peer)
            if uid != os.geteuid():
                raise BrokerRefused(
                    self._folder.url,
                    f"a process of user {uid} listens there, but you are user {os.geteuid()}",
                    "stop that process first",
                )
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *words: str) -> None:
        """Send one command."""
        parts = [word.encode() for word in words]
        try:
            self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        except BlockingIOError:
            raise self._silent() from None

    def read_line(self) -> bytes:
        """Read a reply of a single line, including its type byte, without the line end.

        Raises:
            EOFError: The server closed the connection.
            BrokerUnreachable: It did not reply in time.
        """
        while (end := self._received.find(b"\r\n")) < 0:
            self._receive()
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        return line

    def read_facts(self) -> dict[str, str]:
        """Read the reply to INFO, as names and values.

        Raises:
            BrokerUnreachable: The reply is an error: the server is up, but too busy to identify itself.
        """
        header = self.read_line()
        if not header.startswith(b"$"):
            raise BrokerUnreachable(
                self._folder.url, f"it replied {header.decode(errors='replace')!r}", "wait and try again"
            )
        size = int(header[1:])
        while len(self._received) < size + 2:
            self._receive()
        lines = bytes(self._received[:size]).decode(errors="replace").splitlines()
        del self._received[: size + 2]
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _receive(self) -> None:
        if len(self._received) > _MAX_REPLY_BYTES:
            raise BrokerUnreachable(self._folder.url, "the process that listens there is not a Redis server", "stop it")
        try:
            data = self._socket.recv(16384)
        except BlockingIOError:
            raise self._silent() from None
        if not data:
            raise EOFError
        self._received += data

    def _silent(self) -> BrokerUnreachable:
        who = f"process {self.pid}" if self.pid else "a process"
        return BrokerUnreachable(
            self._folder.url, f"{who} listens, but did not answer within {self._timeout_s:g} s", "if it hangs, kill it"
        )
