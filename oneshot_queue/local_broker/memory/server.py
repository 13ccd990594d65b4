"""The in-memory broker, for machines without a Redis server.

``python -P -m oneshot_queue.local_broker.memory.server SOCKET`` starts it.

fakeredis' ``TcpFakeServer``, on a unix socket instead of a TCP port, because it lets every client in. Everything is
lost when the process ends. What a connection does is in ``connection.py``, what a command does beyond fakeredis
in ``commands.py``.
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

# What it claims to be, which decides little more than the wording of errors.
REDIS_VERSION: Final = (8, 0)
_LOOK_FOR_EXPIRED_S: Final = 1.0


class MemoryServer(TcpFakeServer):
    """fakeredis' server on a unix socket, with an address of its own for every connection."""

    address_family = socket.AF_UNIX
    # The default of 5 makes the sixth of a crowd of clients fail at once: on a unix socket a full backlog is an error.
    request_queue_size = 511

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = itertools.count(1)
        # Listening before the name appears, and replacing a stale socket in one step: who finds it, finds it answering.
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
        # For INFO and SHUTDOWN, which see only this object.
        fake: Any = self.fake_server
        fake.run_id = secrets.token_hex(20)
        fake.started_at = time.monotonic()
        fake.end = self.end

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a client; on a unix socket all have the address ``''``, and fakeredis keeps its clients by address."""
        connection, _ = self.socket.accept()
        return connection, ("unix", next(self._numbers))

    def service_actions(self) -> None:
        """Remove what has expired; by itself fakeredis does so only when somebody asks for the key again."""
        now_s = SystemClock().now_ms() / 1000
        with self.fake_server.lock:
            for database in self.fake_server.dbs.values():
                database.time = now_s
                len(database)

    def end(self) -> NoReturn:
        """End the process at once: there is nothing to save."""
        self.path.unlink(missing_ok=True)
        os._exit(0)


def main() -> None:
    """Serve until told to end, by SHUTDOWN or SIGTERM."""
    os.umask(0o077)
    server = MemoryServer(Path(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.end())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    print(f"listening on {server.path}, process {os.getpid()}; in memory only", flush=True)
    server.serve_forever(poll_interval=_LOOK_FOR_EXPIRED_S)


if __name__ == "__main__":
    main()
