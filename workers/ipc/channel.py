"""The channel between a supervisor and one worker process: a pair of sockets that keeps messages whole.

A worker whose end of the channel is closed knows that its supervisor is gone.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from oneshot_queue.workers.ipc.messages import (
    Assignment,
    GaveUp,
    Message,
    Opened,
    Recover,
    Recovered,
    RecoveryDeclined,
    Stage,
    Stop,
)
from oneshot_queue.workers.ipc.options import WorkerOptions

_MAX_BYTES: Final = 1 << 18
_MAX_FILES: Final = 4
_FILE: Final = struct.Struct("=i")

_KINDS: Final[dict[str, type[Message]]] = {
    kind.__name__: kind for kind in (Assignment, Stop, Recover, Opened, GaveUp, Recovered, RecoveryDeclined)
}


class Channel:
    """One end of the channel. It never blocks: a message that does not fit into the buffer is not sent."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Create both ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def inherited(cls, file: int) -> Channel:
        """Open the end that this process was started with; its children do not inherit it."""
        os.set_inheritable(file, False)
        return cls(socket.socket(fileno=file))

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._end.fileno()

    def send(self, message: Message, files: Sequence[int] = ()) -> bool:
        """Send a message and descriptors with it; returns whether it was sent."""
        try:
            socket.send_fds(self._end, [_packed(message)], files)
        except OSError:
            # The buffer is full, the other end is gone, or a kernel limit (memory, descriptors in flight) is reached.
            return False
        return True

    def receive(self) -> tuple[Message, list[int]] | None:
        """Receive the next message and its descriptors; ``None`` when the other end is gone.

        If this process has no free descriptor, the message comes without them.

        Raises:
            BlockingIOError: No message is waiting.
        """
        try:
            # Not ``recv_fds``: Python 3.11 ignores its flags, and jobs must not inherit the lock.
            space = socket.CMSG_SPACE(_MAX_FILES * _FILE.size)
            raw, ancillary, _, _ = self._end.recvmsg(_MAX_BYTES, space, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        files = [
            file for _, kind, data in ancillary if kind == socket.SCM_RIGHTS for (file,) in _FILE.iter_unpack(data)
        ]
        return (_unpacked(raw), files) if raw else None

    def close(self) -> None:
        """Close this end."""
        self._end.close()


def _packed(message: Message) -> bytes:
    values: dict[str, Any] = {each.name: getattr(message, each.name) for each in fields(message)}
    if isinstance(message, Assignment):
        values["options"] = message.options.as_dict()
    return json.dumps([type(message).__name__, values]).encode()


def _unpacked(raw: bytes) -> Message:
    kind, values = json.loads(raw)
    if kind == Assignment.__name__:
        values["options"] = WorkerOptions.from_dict(values["options"])
    elif kind == Stop.__name__:
        values["stage"] = Stage(values["stage"])
    return _KINDS[kind](**values)
