"""How an attempt ended: ``Outcome``, with its cause, resource usage and captured output. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # Its module loads a state machine, which most users of this one do not need.
    from oneshot_queue.states import JobState

HEAD_BYTES: Final = 256 * 1024
"""How much of the beginning of each stream is kept, of a queued job and by ``run_commands`` alike."""
TAIL_BYTES: Final = 4 * 1024 * 1024
"""How much of the end of each stream is kept."""


class Cause(StrEnum):
    """Why an attempt ended as it did."""

    EXIT = "exit"
    SIGNAL = "signal"
    SPAWN_ERROR = "spawn_error"
    TIME_LIMIT = "time_limit"
    IDLE_TIMEOUT = "idle_timeout"
    INTERRUPTED = "interrupted"
    WORKER_LOST = "worker_lost"
    POISON = "poison"
    DEPENDENCY = "dependency"
    EXPIRED = "expired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources that an attempt's processes used, by ``wait4``: the command and all children that it waited for.

    Attributes:
        cpu_user_s: Seconds of CPU in user mode.
        cpu_system_s: Seconds of CPU in the kernel.
        max_rss_bytes: Peak memory of the largest process. Linux counts from before ``exec``, so the value is never
            below the size of the worker that started the command.
    """

    cpu_user_s: float = 0.0
    cpu_system_s: float = 0.0
    max_rss_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Captured:
    """Output kept in memory: the beginning and the end of each stream.

    Attributes:
        dropped: Bytes that were read but not kept, of both streams together. They are missing from the middle.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        state: COMPLETED, FAILED or INTERRUPTED.
        cause: Why it ended.
        exit_code: Its exit code; ``None`` if it did not exit normally.
        signal: The number of the signal that ended it.
        attempt: The number of the attempt; the first is 1.
        error: An explanation where the cause needs one; of a spawn error, for example, host, path and reason.
        survivors: Ids of processes that were still alive 30 s after SIGKILL.
        output: The output that ``run_commands`` captured; ``None`` for a queued job, whose output is in its queue.
    """

    state: JobState
    cause: Cause
    exit_code: int | None = None
    signal: int | None = None
    attempt: int = 1
    usage: Usage = Usage()
    error: str | None = None
    survivors: tuple[int, ...] = ()
    output: Captured | None = None
