"""The events of a task, as values: the only source for logs, for stored data and for tests.

An observer is any callable that takes one event. The engine calls it synchronously, in the order of the events, in the
thread of the event loop. It must not block and must not raise.

The order for one task: any number of ``SpawnDelayed``, ``TaskStarted``, then ``OutputReceived``, ``SilenceDetected``,
``ActivityDetected`` and ``InterruptStarted`` as they happen, and ``TaskEnded``. A task whose process could not be
started has no ``TaskStarted``. No event follows ``TaskEnded``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneshot_queue.outcomes import Outcome


class OutputStream(IntEnum):
    """One of a command's two output streams; the values are its file descriptors."""

    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class SpawnDelayed:
    """The machine lacks the descriptors, processes or memory to start a process; the command is not at fault.

    The engine retries the start with growing delays, until it succeeds or the task is interrupted.
    """

    task_id: str
    error: str


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The process of the command has started."""

    task_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class OutputReceived:
    """The command wrote ``data`` to a stream.

    Attributes:
        offset: How many bytes of this stream came before ``data``.
    """

    task_id: str
    stream: OutputStream
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SilenceDetected:
    """The command wrote nothing for ``silent_s`` seconds: RUNNING became IDLE."""

    task_id: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class ActivityDetected:
    """The command wrote again: IDLE became RUNNING."""

    task_id: str


@dataclass(frozen=True, slots=True)
class InterruptStarted:
    """The engine has begun to terminate the processes of the command.

    Attributes:
        cause: ``interrupted``, ``time_limit``, ``idle_timeout`` or ``worker_lost``.
        reason: The text that came with an interrupt, if any.
    """

    task_id: str
    cause: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """The outcome is known, and no process of the task is left except ``outcome.survivors``."""

    task_id: str
    outcome: Outcome


Event = SpawnDelayed | TaskStarted | OutputReceived | SilenceDetected | ActivityDetected | InterruptStarted | TaskEnded
Observer = Callable[[Event], None]
