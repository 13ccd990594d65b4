"""A faulty wire between a worker and its server: it loses, holds back and cuts what comes back, never what goes there.

So the server did what it was asked, and the worker does not know. A fault is armed with a mark, strikes the next reply
that contains it, and remembers that it did.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.waiting import LIMIT_S

_READ_BYTES: Final = 65_536


@dataclass(eq=False)
class Fault:
    """What is to become of the next reply with a mark in it.

    Attributes:
        holds: Keep it back until ``release``; else it is lost and its connection cut.
        struck: Set once it happened.
    """

    mark: bytes
    holds: bool
    struck: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def assert_struck(self) -> None:
        """Wait until it happened, and fail if it does not."""
        assert self.struck.wait(LIMIT_S), f"the fault did not happen: no reply with {self.mark!r} in it came by"

    def release(self) -> None:
        """Let what is held back go on."""
        self._released.set()

    def wait_for_release(self) -> None:
        """Wait until it may go on."""
        self._released.wait(LIMIT_S)


class Proxy:
    """Listens on a unix socket of its own, and connects each of its clients to the server's.

    Attributes:
        cut: Connections that were cut so far.
    """

    def __init__(self, upstream: Path, path: Path) -> None:
        self._upstream = upstream
        self._listener = socket.socket(socket.AF_UNIX)
        self._path = path
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._watched: list[Fault] = []
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._every: int | None = None
        self._replies = 0
        self.cut = 0

    @property
    def url(self) -> str:
        """Where a client connects."""
        return f"unix://{self._path}"

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # close() alone does not wake a thread that waits in accept() or recv().
        with self._lock:
            sockets = [self._listener, *self._sockets]
            for fault in self._faults:
                fault.release()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT_S)
        self._listener.close()

    def lose_reply(self, mark: bytes) -> Fault:
        """Lose the next reply with this in it, and cut its connection."""
        return self._arm(Fault(mark, holds=False))

    def hold_reply(self, mark: bytes) -> Fault:
        """Keep the next reply with this in it back until it is released."""
        return self._arm(Fault(mark, holds=True))

    def watch(self, mark: bytes) -> Fault:
        """Do nothing to the next reply with this in it, but notice that it has passed."""
        watched = Fault(mark, holds=False)
        with self._lock:
            self._watched.append(watched)
        return watched

    def lose_every(self, count: int | None) -> None:
        """From now on, lose each ``count``-th reply, whatever it is, and cut its connection; ``None`` ends it."""
        with self._lock:
            self._every = count

    def _arm(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._upstream))
            except OSError:
                client.close()
                server.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            self._spawn(self._carry, client, server)

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        there = threading.Thread(target=self._pass_on_requests, args=(client, server), daemon=True)
        there.start()
        self._pass_on_replies(server, client)
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        there.join(LIMIT_S)
        with self._lock:
            self._sockets -= {client, server}
        client.close()
        server.close()

    def _pass_on_requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_READ_BYTES):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _pass_on_replies(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_READ_BYTES):
                fault = self._fault_for(data)
                if fault is not None:
                    fault.struck.set()
                    if not fault.holds:
                        return
                    fault.wait_for_release()
                client.sendall(data)
                self._notice(data)

    def _fault_for(self, data: bytes) -> Fault | None:
        with self._lock:
            self._replies += 1
            for fault in self._faults:
                if fault.mark in data:
                    self._faults.remove(fault)
                    self.cut += not fault.holds
                    return fault
            if self._every is not None and self._replies % self._every == 0:
                self.cut += 1
                return Fault(b"", holds=False)
            return None

    def _notice(self, data: bytes) -> None:
        with self._lock:
            for each in [each for each in self._watched if each.mark in data]:
                self._watched.remove(each)
                each.struck.set()
