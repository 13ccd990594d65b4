"""One connection of the in-memory broker.

fakeredis' own handler looks every 10 ms whether there is something to do, for every connection, and does not notice
that a client is gone while it blocks: a BLPOP without a limit keeps its thread for ever, and takes an entry for nobody.
This one sleeps until there is something to do, and a blocked client's end wakes it.
"""

from __future__ import annotations

import os
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Protocol

from fakeredis import FakeServer

from oneshot_queue.local_broker.memory.commands import MemorySocket
from oneshot_queue.local_broker.memory.link import Link


class Served(Protocol):
    """The server, as far as a connection needs it."""

    fake_server: FakeServer
    path: Path


class MemoryConnection(BaseRequestHandler):
    """Serves one client, in a thread of its own."""

    server: Served  # type: ignore[assignment]  # the library declares a class of its own

    def setup(self) -> None:
        """Make the two ends: the wire, and fakeredis' side of it."""
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
        except Exception as problem:  # noqa: BLE001 (fakeredis says "no protocol" in many ways)
            # What was sent is no Redis protocol; fakeredis' parser cannot go on after that, nor could Redis.
            self._link.put(f"-ERR Protocol error: {problem}\r\n".encode(errors="replace"))
            try:
                self._link.flush()
            except ConnectionError:
                return

    def finish(self) -> None:
        """Forget the client, so that nobody rings at a wire that is gone."""
        with self.server.fake_server.lock:
            self._socket.forget()
        self._link.close()
