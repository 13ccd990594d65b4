"""The socket of one client of the in-memory broker, and how other threads wake the thread that serves it."""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Final

# fakeredis parses commands by cutting them off the front of the received bytes; small reads keep that cheap.
_READ_BYTES: Final = 16 * 1024
# A subscriber that falls this far behind is disconnected, as in Redis. Pending replies are no reason to disconnect:
# redis-py sends a whole pipeline before it reads the first reply.
_MAX_UNREAD_BYTES: Final = 32 * 1024 * 1024
_GONE: Final = select.POLLHUP | select.POLLRDHUP | select.POLLERR


class Link:
    """The socket of one client: buffers what is to be sent, and lets other threads wake the thread that serves it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._unsent = bytearray()
        self._lock = threading.Lock()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wakeup, select.POLLIN)
        self.owner = threading.get_ident()
        self.is_cut_off = False

    def close(self) -> None:
        """Close the wakeup descriptor; ``wake`` must not be called afterwards."""
        os.close(self._wakeup)

    def wake(self) -> None:
        """Wake the owner."""
        os.eventfd_write(self._wakeup, 1)

    def put(self, data: bytes) -> None:
        """Buffer bytes for the owner to send. Any thread may call it."""
        is_message = threading.get_ident() != self.owner
        with self._lock:
            self._unsent += data
            if is_message and len(self._unsent) > _MAX_UNREAD_BYTES:
                self.is_cut_off = True
        if is_message:
            self.wake()

    def flush(self) -> None:
        """Send as much as the client accepts without blocking.

        Raises:
            ConnectionError: The client is gone.
        """
        with self._lock:
            while self._unsent:
                try:
                    sent = self._connection.send(self._unsent)
                except BlockingIOError:
                    return
                del self._unsent[:sent]

    def wait(self, *, for_data: bool, timeout_s: float | None = None) -> bool:
        """Send what can be sent, and sleep until another thread wakes this one, data arrives, or the timeout ends.

        Args:
            for_data: Whether to return when the client has sent data.
            timeout_s: Seconds to wait; ``None`` is for ever.

        Returns:
            Whether data has arrived; always false without ``for_data``.

        Raises:
            ConnectionError: The client is gone, or was disconnected.
        """
        while True:
            self.flush()
            if self.is_cut_off:
                raise ConnectionAbortedError
            wanted = select.POLLRDHUP | (select.POLLIN if for_data else 0) | (select.POLLOUT if self._unsent else 0)
            self._poll.register(self._connection, wanted)
            events = dict(self._poll.poll(None if timeout_s is None else max(timeout_s, 0) * 1000 + 1))
            seen = events.get(self._connection.fileno(), 0)
            if seen & select.POLLIN:
                return True
            if seen & _GONE:
                raise ConnectionResetError
            if self._wakeup in events:
                os.eventfd_read(self._wakeup)
                return False
            if not events:
                return False

    def receive(self) -> bytes:
        """Read the data that has arrived; empty if the client has closed the connection."""
        return self._connection.recv(_READ_BYTES)
