"""What a supervisor and its worker processes say to each other, and the channel it goes over.

A pair of sockets that keeps messages whole. The channel also carries life and death: its end tells a worker that its
supervisor is gone.
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
    Decided,
    Declined,
    Failed,
    Message,
    Opened,
    Recover,
    Stage,
    Stop,
)
from oneshot_queue.workers.ipc.options import WorkerOptions

_MAX_BYTES: Final = 1 << 18
_MAX_FILES: Final = 4
_FILE: Final = struct.Struct("=i")

_KINDS: Final[dict[str, type[Message]]] = {
    kind.__name__: kind for kind in (Assignment, Stop, Recover, Opened, Failed, Decided, Declined)
}


class Channel:
    """One end. It never waits: what the other side has no room for is not sent."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def inherited(cls, file: int) -> Channel:
        """The end that this process was started with; its children will not have it."""
        os.set_inheritable(file, False)
        return cls(socket.socket(fileno=file))

    def fileno(self) -> int:
        """For whoever waits until it is readable."""
        return self._end.fileno()

    def send(self, message: Message, files: Sequence[int] = ()) -> bool:
        """Send a message, and descriptors with it; whether it was sent."""
        try:
            socket.send_fds(self._end, [_packed(message)], files)
        except OSError:
            # No room now, nobody there, or a limit of the kernel: of memory, or of descriptors on their way.
            return False
        return True

    def receive(self) -> tuple[Message, list[int]] | None:
        """Take the next message and the descriptors that came with it; ``None`` when the other side is gone.

        Where this process has no descriptor to spare, the message comes without them.

        Raises:
            BlockingIOError: There is none now.
        """
        try:
            # Not ``recv_fds``: Python 3.11 forgets the flags, and jobs must not inherit the lock.
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
    form: dict[str, Any] = {each.name: getattr(message, each.name) for each in fields(message)}
    if isinstance(message, Assignment):
        form["options"] = message.options.form()
    return json.dumps([type(message).__name__, form]).encode()


def _unpacked(raw: bytes) -> Message:
    kind, form = json.loads(raw)
    if kind == Assignment.__name__:
        form["options"] = WorkerOptions.from_form(form["options"])
    elif kind == Stop.__name__:
        form["stage"] = Stage(form["stage"])
    return _KINDS[kind](**form)
