"""A faulty wire between a client and its server.

Troubles (``inflict``, ``repair``) are about all that passes on some or all connections. A fault (``lose_reply``,
``hold_reply``) is armed with a mark and strikes the next reply that contains it: the server did what it was asked, and
the client does not know. Both remember that they happened.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.troubles import Condition, Connection, Fault, Trouble, Way, everybody
from tests.support.waiting import LIMIT_S

_READ_BYTES: Final = 65_536
_KNOWN_BYTES: Final = 65_536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Upstream = Path | tuple[str, int]


class _Reset(Exception):
    """This connection is to be reset now."""


class Wire:
    """Listens at an address of its own, and connects each of its clients to the server's.

    Args:
        upstream: The server's unix socket, or its host and port.
        path: The unix socket to listen on; without one, a loopback port. Only there a reset is a real RST.

    Attributes:
        cut: Connections that were cut or reset so far.
    """

    def __init__(self, upstream: Upstream, path: Path | None = None) -> None:
        self._upstream = upstream
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._listener.bind(str(path) if path else ("127.0.0.1", 0))
        self._listener.listen(128)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._watched: list[Fault] = []
        self._troubles: list[Trouble] = []
        self._open: dict[Connection, tuple[socket.socket, socket.socket]] = {}
        self._threads: list[threading.Thread] = []
        self._every: int | None = None
        self._replies = 0
        self._connections = 0
        self.cut = 0

    @property
    def url(self) -> str:
        """Where a client connects."""
        if self._path:
            return f"unix://{self._path}"
        host, port = self._listener.getsockname()
        return f"redis://{host}:{port}/0"

    @property
    def open_connections(self) -> int:
        """How many connections it carries now."""
        with self._lock:
            return len(self._open)

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.repair()
        # close() alone does not wake a thread that waits in accept() or recv().
        with self._lock:
            sockets = [self._listener, *(each for pair in self._open.values() for each in pair)]
            for fault in self._faults:
                fault.release()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT_S)
        self._listener.close()
        if self._path:
            self._path.unlink(missing_ok=True)

    # -------------------------------------------------------------------------------------- one reply, known by a mark

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

    def lead_to(self, upstream: Upstream) -> None:
        """Connect whoever comes from now on to another server; what is connected stays as it is."""
        self._upstream = upstream

    def lose_every(self, count: int | None) -> None:
        """From now on, lose each ``count``-th reply, whatever it is, and cut its connection; ``None`` ends it."""
        with self._lock:
            self._every = count

    # ------------------------------------------------------------------------------------------------ all that passes

    def inflict(self, trouble: Trouble) -> Trouble:
        """Let this happen from now on, on connections there are and on new ones."""
        with self._lock:
            self._troubles.append(trouble)
        return trouble

    def repair(self, *troubles: Trouble) -> None:
        """End these troubles, or all; what they held back goes on."""
        with self._lock:
            over = list(troubles) or list(self._troubles)
            self._troubles = [each for each in self._troubles if each not in over]
        for each in over:
            each.over.set()

    @contextlib.contextmanager
    def suffering(self, trouble: Trouble) -> Iterator[Trouble]:
        """Let this happen for a while."""
        self.inflict(trouble)
        try:
            yield trouble
        finally:
            self.repair(trouble)

    def reset(self, on: Condition = everybody) -> int:
        """Reset the connections there are now; returns how many that were."""
        with self._lock:
            struck = [pair for connection, pair in self._open.items() if on(connection)]
            self.cut += len(struck)
        for pair in struck:
            for each in pair:
                # The threads that carry it close it, and that is when the RST is sent.
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    each.shutdown(socket.SHUT_RD)
        return len(struck)

    # ------------------------------------------------------------------------------------------------------- its work

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
            server = socket.socket(socket.AF_UNIX if isinstance(self._upstream, Path) else socket.AF_INET)
            try:
                server.connect(str(self._upstream) if isinstance(self._upstream, Path) else self._upstream)
            except OSError:
                client.close()
                server.close()
                continue
            for each in (client, server):
                if each.family == socket.AF_INET:
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections += 1
                connection = Connection(self._connections)
                self._open[connection] = (client, server)
            self._spawn(self._carry, connection, client, server)

    def _carry(self, connection: Connection, client: socket.socket, server: socket.socket) -> None:
        there = threading.Thread(target=self._pass_on, args=(connection, Way.REQUESTS, client, server), daemon=True)
        there.start()
        self._pass_on(connection, Way.REPLIES, server, client)
        # SHUT_RD wakes the other thread and sends nothing: a client that is to be reset hears no goodbye.
        for each, how in ((client, socket.SHUT_RD), (server, socket.SHUT_RDWR)):
            with contextlib.suppress(OSError):
                each.shutdown(how)
        there.join(LIMIT_S)
        with self._lock:
            del self._open[connection]
        client.close()
        server.close()

    def _pass_on(self, connection: Connection, way: Way, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(_READ_BYTES):
                if way is Way.REQUESTS:
                    connection.requests = (connection.requests + data)[:_KNOWN_BYTES]
                elif not self._is_spared(data):
                    return
                self._suffer(connection, way, data, target)
                if way is Way.REPLIES:
                    self._notice(data)
            if way is Way.REQUESTS:
                target.shutdown(socket.SHUT_WR)
        except _Reset:
            with self._lock:
                self.cut += 1
            target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            # One of the two has gone, and the other is told: a client that closes with something unread resets.
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    def _suffer(self, connection: Connection, way: Way, data: bytes, target: socket.socket) -> None:
        """Send it on, as the troubles of this connection will have it.

        Raises:
            _Reset: The connection is to be reset.
        """
        packet_bytes = len(data)
        if way in connection.dead_ways:
            return
        for trouble in self._troubles_of(connection, way):
            trouble.fired += 1
            trouble.struck.set()
            if trouble.is_lossy:
                connection.dead_ways.add(way)
                return
            if trouble.resets_after_bytes is not None:
                target.sendall(data[: trouble.resets_after_bytes])
                raise _Reset
            if trouble.holds:
                trouble.over.wait()
            trouble.over.wait(trouble.delay_s + (len(data) / trouble.bytes_per_s if trouble.bytes_per_s else 0.0))
            packet_bytes = min(packet_bytes, trouble.packet_bytes or packet_bytes)
        for begin in range(0, len(data), packet_bytes):
            target.sendall(data[begin : begin + packet_bytes])

    def _troubles_of(self, connection: Connection, way: Way) -> list[Trouble]:
        with self._lock:
            return [each for each in self._troubles if way in each.ways and each.on(connection)]

    def _is_spared(self, reply: bytes) -> bool:
        """Whether a reply goes on, now or after it was held back."""
        fault = self._fault_for(reply)
        if fault is None:
            return True
        fault.struck.set()
        if fault.holds:
            fault.wait_for_release()
        return fault.holds

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
