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
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

from workers.options import WorkerOptions

_MAX_BYTES: Final = 1 << 18
_MAX_FILES: Final = 4
_FILE: Final = struct.Struct("=i")


class Stage(IntEnum):
    """How urgently a worker is asked to stop."""

    RUNNING = 0
    FINISHING = 1
    """Takes no more jobs; those it has may take as long as they need."""
    DRAINING = 2
    """The same, but they may take no longer than the drain timeout."""
    INTERRUPTING = 3
    KILLING = 4

    def next_request(self) -> Stage:
        """Where one more request to stop leads."""
        return Stage(min(max(self + 1, Stage.DRAINING), Stage.KILLING))


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker process is to be; its notes come along as a file, and so does the lock of its folder if it has one.

    Attributes:
        supervisor: An id that all worker processes of one supervisor share.
        process: Its number among ``processes``, from 1.
        folder: Where its files are; ``None`` if it has none.
        cgroup: The control group to enter before any job is started; ``None`` if there is none.
    """

    worker_id: str
    supervisor: str
    process: int
    processes: int
    folder: str | None
    cgroup: str | None
    options: WorkerOptions


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop at least as urgently as this."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Inherit:
    """Decide about the jobs of a worker that died; its notes come along as a file.

    Attributes:
        survivors: The process ids of what came from it and could not be ended.
    """

    worker_id: str
    folder: str | None
    survivors: list[int]


@dataclass(frozen=True, slots=True)
class Opened:
    """The worker is registered with the broker, and takes jobs."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker gives up.

    Attributes:
        code: The exit code for it.
        text: What a person should read.
        needs_person: Whether any other worker would fail the same way until a person changes something.
    """

    code: int
    text: str
    needs_person: bool


@dataclass(frozen=True, slots=True)
class Decided:
    """All jobs of that estate are decided, and on record."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The worker cannot take on that estate now."""

    worker_id: str


Message = Assignment | Stop | Inherit | Opened | Failed | Decided | Declined

_KINDS: Final[dict[str, type[Message]]] = {
    kind.__name__: kind for kind in (Assignment, Stop, Inherit, Opened, Failed, Decided, Declined)
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
