"""One client connection of the in-memory broker.

fakeredis' own handler polls every 10 ms and does not notice that a blocked client is gone: a BLPOP without a timeout
would keep its thread for ever, and take an element that no client receives. This handler sleeps until there is
something to do, and a client that disconnects wakes it.
"""

from __future__ import annotations

import os
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Protocol

from fakeredis import FakeServer

from oneshot_queue.local_broker.memory.commands import MemorySocket
from oneshot_queue.local_broker.memory.link import Link


class ServerParts(Protocol):
    """The parts of the server that a connection needs."""

    fake_server: FakeServer
    path: Path


class MemoryConnection(BaseRequestHandler):
    """Serves one client, in a thread of its own."""

    server: ServerParts  # type: ignore[assignment]  # the library declares a class of its own

    def setup(self) -> None:
        """Create the link to the client, and fakeredis' side of the connection."""
        self._link = Link(self.request)
        name, number = self.client_address
        self._socket = MemorySocket(
            self.server.fake_server,
            self._link,
            {"addr": f"{name}:{number}", "laddr": os.fspath(self.server.path), "fd": self.request.fileno()},
        )

    def handle(self) -> None:
        """Run commands until the client is gone."""
        try:
            while True:
                if self._link.wait(for_data=True):
                    data = self._link.receive()
                    if not data:
                        return
                    self._socket.sendall(data)
        except ConnectionError:
            return
        except Exception as problem:  # noqa: BLE001 (fakeredis reports protocol errors in many ways)
            # The client did not speak the Redis protocol. Neither this parser nor Redis can continue after that.
            self._link.put(f"-ERR Protocol error: {problem}\r\n".encode(errors="replace"))
            try:
                self._link.flush()
            except ConnectionError:
                return

    def finish(self) -> None:
        """Remove the client from the server, so that no thread wakes a link that is closed."""
        with self.server.fake_server.lock:
            self._socket.forget()
        self._link.close()
