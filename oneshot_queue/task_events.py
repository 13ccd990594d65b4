"""What happens to a task, as values. The one source for logs, for what is persisted, and for tests.

An observer is any callable that takes one event. It is called synchronously, in the order things happened, in the
thread of the event loop; it must not block and must not raise.

Of one task: any ``SpawnDelayed``, then ``TaskStarted``, then output, silence, activity and ``InterruptStarted`` as they
come, and ``TaskEnded``. A task that never got a process has no ``TaskStarted``; nothing follows ``TaskEnded``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneshot_queue.outcomes import Outcome


class OutputStream(IntEnum):
    """Which of a command's two outputs; the values are the numbers of its file descriptors."""

    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class SpawnDelayed:
    """This machine, not the command, could not start a process (no descriptor, process or memory to spare).

    The start is tried again, at growing intervals, until it succeeds or the task is interrupted.
    """

    task_id: str
    error: str


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The command's process exists."""

    task_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class OutputReceived:
    """The command wrote ``data``.

    Attributes:
        offset: Bytes this stream had written before ``data``.
    """

    task_id: str
    stream: OutputStream
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SilenceDetected:
    """Nothing was written for ``silent_s`` seconds: RUNNING became IDLE."""

    task_id: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class ActivityDetected:
    """Output after silence: IDLE became RUNNING."""

    task_id: str


@dataclass(frozen=True, slots=True)
class InterruptStarted:
    """Termination of the command's processes has begun, for the cause and the reason given.

    Attributes:
        cause: ``interrupted``, ``time_limit``, ``idle_timeout`` or ``worker_lost``.
    """

    task_id: str
    cause: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """No process of the task is left (or ``outcome.survivors`` says which are), and its outcome is known."""

    task_id: str
    outcome: Outcome


Event = SpawnDelayed | TaskStarted | OutputReceived | SilenceDetected | ActivityDetected | InterruptStarted | TaskEnded
Observer = Callable[[Event], None]
