"""A proxy between clients and their server that can be made faulty.

Wire faults (``impair``, ``repair``) affect all bytes of some connections. A reply fault (``lose_reply``,
``hold_reply``) affects the next reply that contains a pattern: the server has executed the request, and the client does
not know it. Each fault records that it happened.
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

from tests.support.waiting import TIMEOUT_S
from tests.support.wire_faults import Condition, Connection, Direction, ReplyFault, WireFault, all_connections

_READ_BYTES: Final = 65_536
_KNOWN_BYTES: Final = 65_536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Upstream = Path | tuple[str, int]


class _Reset(Exception):
    """Reset this connection now."""


class Wire:
    """Listens at its own address, and connects each client to the server.

    Args:
        upstream: The server's unix socket, or its host and port.
        path: The unix socket to listen on; by default a loopback port. Only a reset on a port is a real RST.

    Attributes:
        cut: Number of connections that were cut or reset so far.
    """

    def __init__(self, upstream: Upstream, path: Path | None = None) -> None:
        self._upstream = upstream
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._listener.bind(str(path) if path else ("127.0.0.1", 0))
        self._listener.listen(128)
        self._lock = threading.Lock()
        self._reply_faults: list[ReplyFault] = []
        self._watched: list[ReplyFault] = []
        self._wire_faults: list[WireFault] = []
        self._open: dict[Connection, tuple[socket.socket, socket.socket]] = {}
        self._threads: list[threading.Thread] = []
        self._every: int | None = None
        self._replies = 0
        self._connections = 0
        self.cut = 0

    @property
    def url(self) -> str:
        """The URL for clients."""
        if self._path:
            return f"unix://{self._path}"
        host, port = self._listener.getsockname()
        return f"redis://{host}:{port}/0"

    @property
    def open_connections(self) -> int:
        """Number of connections that are open now."""
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
            for fault in self._reply_faults:
                fault.release()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        self._listener.close()
        if self._path:
            self._path.unlink(missing_ok=True)

    # ---------------------------------------------------------------------------------------- one reply, by its pattern

    def lose_reply(self, pattern: bytes) -> ReplyFault:
        """Lose the next reply that contains the pattern, and cut its connection."""
        return self._arm(ReplyFault(pattern, holds=False))

    def hold_reply(self, pattern: bytes) -> ReplyFault:
        """Hold back the next reply that contains the pattern, until it is released."""
        return self._arm(ReplyFault(pattern, holds=True))

    def watch(self, pattern: bytes) -> ReplyFault:
        """Deliver the next reply that contains the pattern, and record that it passed."""
        watched = ReplyFault(pattern, holds=False)
        with self._lock:
            self._watched.append(watched)
        return watched

    def redirect_to(self, upstream: Upstream) -> None:
        """Connect new clients to another server; open connections stay where they are."""
        self._upstream = upstream

    def lose_every(self, count: int | None) -> None:
        """Lose every ``count``-th reply from now on, and cut its connection; ``None`` ends this."""
        with self._lock:
            self._every = count

    # ------------------------------------------------------------------------------------ all bytes of some connections

    def impair(self, fault: WireFault) -> WireFault:
        """Inject a fault into open and new connections."""
        with self._lock:
            self._wire_faults.append(fault)
        return fault

    def repair(self, *faults: WireFault) -> None:
        """End these faults, or all; deliver what they held back."""
        with self._lock:
            over = list(faults) or list(self._wire_faults)
            self._wire_faults = [each for each in self._wire_faults if each not in over]
        for each in over:
            each.over.set()

    @contextlib.contextmanager
    def impaired(self, fault: WireFault) -> Iterator[WireFault]:
        """Inject a fault for a while."""
        self.impair(fault)
        try:
            yield fault
        finally:
            self.repair(fault)

    def reset(self, on: Condition = all_connections) -> int:
        """Reset the open connections; returns their number."""
        with self._lock:
            pairs = [pair for connection, pair in self._open.items() if on(connection)]
            self.cut += len(pairs)
        for pair in pairs:
            for each in pair:
                # Its threads close it, and that sends the RST.
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    each.shutdown(socket.SHUT_RD)
        return len(pairs)

    # ------------------------------------------------------------------------------------------------------ forwarding

    def _arm(self, fault: ReplyFault) -> ReplyFault:
        with self._lock:
            self._reply_faults.append(fault)
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
        requests = threading.Thread(
            target=self._forward, args=(connection, Direction.REQUESTS, client, server), daemon=True
        )
        requests.start()
        self._forward(connection, Direction.REPLIES, server, client)
        # SHUT_RD wakes the other thread and sends nothing: a client that will be reset must see no clean close first.
        for each, how in ((client, socket.SHUT_RD), (server, socket.SHUT_RDWR)):
            with contextlib.suppress(OSError):
                each.shutdown(how)
        requests.join(TIMEOUT_S)
        with self._lock:
            del self._open[connection]
        client.close()
        server.close()

    def _forward(
        self, connection: Connection, direction: Direction, source: socket.socket, target: socket.socket
    ) -> None:
        try:
            while data := source.recv(_READ_BYTES):
                if direction is Direction.REQUESTS:
                    connection.requests = (connection.requests + data)[:_KNOWN_BYTES]
                elif not self._is_delivered(data):
                    return
                self._deliver(connection, direction, data, target)
                if direction is Direction.REPLIES:
                    self._record_passed(data)
            if direction is Direction.REQUESTS:
                target.shutdown(socket.SHUT_WR)
        except _Reset:
            with self._lock:
                self.cut += 1
            target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            # One side is gone: close the other. A client that closes with unread bytes sends a reset.
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    def _deliver(self, connection: Connection, direction: Direction, data: bytes, target: socket.socket) -> None:
        """Forward bytes, subject to the faults of this connection.

        Raises:
            _Reset: A fault resets the connection.
        """
        packet_bytes = len(data)
        if direction in connection.dead_directions:
            return
        for fault in self._wire_faults_of(connection, direction):
            fault.fired += 1
            fault.happened.set()
            if fault.drops:
                connection.dead_directions.add(direction)
                return
            if fault.resets_after_bytes is not None:
                target.sendall(data[: fault.resets_after_bytes])
                raise _Reset
            if fault.holds:
                fault.over.wait()
            fault.over.wait(fault.delay_s + (len(data) / fault.bytes_per_s if fault.bytes_per_s else 0.0))
            packet_bytes = min(packet_bytes, fault.packet_bytes or packet_bytes)
        for begin in range(0, len(data), packet_bytes):
            target.sendall(data[begin : begin + packet_bytes])

    def _wire_faults_of(self, connection: Connection, direction: Direction) -> list[WireFault]:
        with self._lock:
            return [each for each in self._wire_faults if direction in each.directions and each.on(connection)]

    def _is_delivered(self, reply: bytes) -> bool:
        """Whether a reply is delivered, now or after it was held back."""
        fault = self._reply_fault_for(reply)
        if fault is None:
            return True
        fault.happened.set()
        if fault.holds:
            fault.wait_for_release()
        return fault.holds

    def _reply_fault_for(self, data: bytes) -> ReplyFault | None:
        with self._lock:
            self._replies += 1
            for fault in self._reply_faults:
                if fault.pattern in data:
                    self._reply_faults.remove(fault)
                    self.cut += not fault.holds
                    return fault
            if self._every is not None and self._replies % self._every == 0:
                self.cut += 1
                return ReplyFault(b"", holds=False)
            return None

    def _record_passed(self, data: bytes) -> None:
        with self._lock:
            for each in [each for each in self._watched if each.pattern in data]:
                self._watched.remove(each)
                each.happened.set()
