"""What was asked for (``JobSpec``), what became of it (``JobRecord``), and how an attempt ended (``Outcome``).

Values only: nothing here does I/O. A ``JobSpec`` that exists is valid; whatever made no sense was refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from oneshot_queue.states import JobState


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
    """What an attempt's processes used, by ``wait4``: the command and those of its children that it waited for.

    Attributes:
        cpu_user_s: Seconds of CPU in user mode.
        cpu_system_s: Seconds of CPU in the kernel.
        max_rss_bytes: Peak memory of the largest of them. Linux counts from before ``exec``, so it is never below the
            size of the worker that started the command.
    """

    cpu_user_s: float = 0.0
    cpu_system_s: float = 0.0
    max_rss_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Captured:
    """Output that was kept in memory: the beginning and the end of each stream.

    Attributes:
        dropped: Bytes that were read but not kept, both streams together; they are missing from the middle.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        state: COMPLETED, FAILED or INTERRUPTED.
        cause: Why.
        exit_code: The status it exited with; ``None`` if it did not exit by itself.
        signal: The number of the signal that ended it.
        attempt: Which run of the job this was, from 1.
        error: A text for people where the cause needs one: host, path and reason of a spawn error, for example.
        survivors: Process ids that were still alive 30 s after SIGKILL.
        output: What ``run_commands`` captured; ``None`` for a queued job, whose output is read from its queue.
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
