"""The socket of one client of the in-memory broker, and how other threads wake the thread that serves it."""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Final

# Commands are taken apart by cutting them off the front of what was received: small pieces keep that cheap.
_READ_BYTES: Final = 16 * 1024
# A listener that falls this far behind is cut off, as Redis does. What a client asked for is never cut off: redis-py
# sends a whole pipeline before it reads the first reply.
_MAX_UNREAD_MESSAGES_BYTES: Final = 32 * 1024 * 1024
_GONE: Final = select.POLLHUP | select.POLLRDHUP | select.POLLERR


class Link:
    """The wire to one client: what is waiting to be sent, and a way to wake the thread that owns it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._unsent = bytearray()
        self._lock = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self.owner = threading.get_ident()
        self.is_cut = False

    def close(self) -> None:
        """Give the bell back; nobody may ring it any more."""
        os.close(self._bell)

    def ring(self) -> None:
        """Wake the owner."""
        os.eventfd_write(self._bell, 1)

    def put(self, data: bytes) -> None:
        """Have bytes sent by the owner; any thread may call it."""
        is_message = threading.get_ident() != self.owner
        with self._lock:
            self._unsent += data
            if is_message and len(self._unsent) > _MAX_UNREAD_MESSAGES_BYTES:
                self.is_cut = True
        if is_message:
            self.ring()

    def flush(self) -> None:
        """Send what the client takes without waiting.

        Raises:
            ConnectionError: It is gone.
        """
        with self._lock:
            while self._unsent:
                try:
                    sent = self._connection.send(self._unsent)
                except BlockingIOError:
                    return
                del self._unsent[:sent]

    def wait(self, *, for_data: bool, timeout_s: float | None = None) -> bool:
        """Send what can be sent, and sleep until the bell rings, data come, or time is up.

        Returns:
            Whether data came; never, unless asked for.

        Raises:
            ConnectionError: The client is gone, or was cut off.
        """
        while True:
            self.flush()
            if self.is_cut:
                raise ConnectionAbortedError
            wanted = select.POLLRDHUP | (select.POLLIN if for_data else 0) | (select.POLLOUT if self._unsent else 0)
            self._poll.register(self._connection, wanted)
            events = dict(self._poll.poll(None if timeout_s is None else max(timeout_s, 0) * 1000 + 1))
            seen = events.get(self._connection.fileno(), 0)
            if seen & select.POLLIN:
                return True
            if seen & _GONE:
                raise ConnectionResetError
            if self._bell in events:
                os.eventfd_read(self._bell)
                return False
            if not events:
                return False

    def receive(self) -> bytes:
        """Take what has come; empty at the end."""
        return self._connection.recv(_READ_BYTES)
