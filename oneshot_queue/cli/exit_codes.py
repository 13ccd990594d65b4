"""What a verb's exit code says, and which one follows from an error or from a job's end. Pure."""

from __future__ import annotations

import signal
from enum import IntEnum
from typing import TYPE_CHECKING

from oneshot_queue.errors import (
    AmbiguousJobId,
    BrokerError,
    InterruptNotConfirmed,
    InvalidJob,
    InvalidSetting,
    JobAlreadyFinal,
    JobNotFound,
    MalformedData,
    OneshotQueueError,
    WaitTimedOut,
)

if TYPE_CHECKING:
    from oneshot_queue.jobs import JobRecord


class Exit(IntEnum):
    """Exit codes of the verbs; ``run`` and ``wait`` pass a job's own on, and keep 75 and 124 to 130 for the rest."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    NO_SUCH_JOB = 3
    ALREADY_FINAL = 4
    BROKER = 5
    NOT_CONFIRMED = 6
    BUG = 70
    WORKER_LOST = 75
    LIMIT = 124
    OURS = 125
    CANNOT_RUN = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    BROKEN_PIPE = 128 + signal.SIGPIPE


class UsageProblem(Exception):
    """The words of a command line make no sense together; the message says which and why."""


def exit_code_for(error: Exception) -> Exit:
    """Which exit code an error means."""
    match error:
        case UsageProblem() | InvalidJob() | InvalidSetting() | AmbiguousJobId():
            return Exit.USAGE
        case JobNotFound():
            return Exit.NO_SUCH_JOB
        case JobAlreadyFinal():
            return Exit.ALREADY_FINAL
        case InterruptNotConfirmed() | WaitTimedOut():
            return Exit.NOT_CONFIRMED
        case BrokerError() | MalformedData():
            return Exit.BROKER
        case OneshotQueueError() | OSError():
            # Our own output cannot be written, or a file of ours cannot be read: nobody's mistake, and no bug.
            return Exit.SOME_FAILED
        case _:
            return Exit.BUG


def exit_code_of(record: JobRecord) -> int:
    """The exit code that stands for a job's end, as a shell would have it."""
    # Compared as texts: the enums live in a module that takes long to import, and both are StrEnums.
    match str(record.state), str(record.cause):
        case "COMPLETED", _:
            return Exit.DONE
        case "INTERRUPTED", _:
            return Exit.INTERRUPTED
        case _, "exit":
            # Only a job whose success codes leave 0 out can fail with it; to its caller it failed all the same.
            return record.exit_code or Exit.SOME_FAILED
        case _, "signal":
            return 128 + (record.signal or 0)
        case _, "time_limit" | "idle_timeout":
            return Exit.LIMIT
        case _, "spawn_error":
            return Exit.NOT_FOUND if record.exit_code == Exit.NOT_FOUND else Exit.CANNOT_RUN
        case _, "worker_lost":
            return Exit.WORKER_LOST
        case _:
            return Exit.OURS


def ending(record: JobRecord) -> str:
    """Say in a few words how a job ended."""
    spec = record.spec
    words = f"failed ({record.cause})"
    match str(record.state), str(record.cause):
        case "COMPLETED", _:
            words = "completed" if not record.exit_code else f"completed with exit code {record.exit_code}"
        case "INTERRUPTED", _:
            words = "was interrupted" + (f": {record.reason}" if record.reason else "")
        case _, "exit":
            words = f"failed with exit code {record.exit_code}"
        case _, "signal":
            words = f"was ended by {signal_name(record.signal)}"
        case _, "time_limit":
            words = "reached its time limit" + (f" of {spec.time_limit:g} s" if spec and spec.time_limit else "")
        case _, "idle_timeout":
            words = "was silent for too long" + (f" ({spec.idle_timeout:g} s)" if spec and spec.idle_timeout else "")
        case _, "spawn_error":
            words = "could not be started"
        case _, "worker_lost":
            words = "was lost with its worker"
    return words + (f": {record.error}" if record.error else "")


def signal_name(number: int | None) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
