"""The process of the in-memory broker: ``python -P -m oneshot_queue.local_broker.memory.server SOCKET``.

It is fakeredis' ``TcpFakeServer`` on a unix socket instead of a TCP port, because it accepts every client without a
password. Everything is lost when the process ends.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

from fakeredis import TcpFakeServer

from oneshot_queue.clock import SystemClock
from oneshot_queue.local_broker.memory.connection import MemoryConnection

# The version it claims to be; this affects little more than the wording of errors.
REDIS_VERSION: Final = (8, 0)
_EXPIRE_EVERY_S: Final = 1.0


class MemoryServer(TcpFakeServer):
    """fakeredis' server on a unix socket, with a distinct address for every connection."""

    address_family = socket.AF_UNIX
    # On a unix socket, a full backlog is an error for a non-blocking client, and the default is only 5.
    request_queue_size = 511

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = itertools.count(1)
        # Listen first and then rename over a stale socket: a client that finds the socket can connect.
        temporary = path.with_name(f"{path.name}.new")
        temporary.unlink(missing_ok=True)
        super().__init__((os.fspath(temporary), 0), bind_and_activate=False, server_version=REDIS_VERSION)
        self.RequestHandlerClass = MemoryConnection
        self.daemon_threads = True
        self.server_address: Any = os.fspath(temporary)
        self.server_bind()
        temporary.chmod(0o600)
        self.server_activate()
        temporary.replace(path)
        # For INFO and SHUTDOWN, which have access to this object only.
        fake: Any = self.fake_server
        fake.run_id = secrets.token_hex(20)
        fake.started_at = time.monotonic()
        fake.end = self.end

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a client, and number it: fakeredis tells clients apart by address, and unix sockets have none."""
        connection, _ = self.socket.accept()
        return connection, ("unix", next(self._numbers))

    def service_actions(self) -> None:
        """Remove expired keys. fakeredis alone would do so only when a key is read again."""
        now_s = SystemClock().now_ms() / 1000
        with self.fake_server.lock:
            for database in self.fake_server.dbs.values():
                database.time = now_s
                len(database)

    def end(self) -> NoReturn:
        """Exit at once: there is nothing to save."""
        self.path.unlink(missing_ok=True)
        os._exit(0)


def main() -> None:
    """Serve until SHUTDOWN, SIGTERM or SIGINT."""
    os.umask(0o077)
    server = MemoryServer(Path(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.end())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    print(f"listening on {server.path}, process {os.getpid()}, in memory only", flush=True)
    server.serve_forever(poll_interval=_EXPIRE_EVERY_S)


if __name__ == "__main__":
    main()
