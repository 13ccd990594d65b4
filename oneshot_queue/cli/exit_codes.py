"""The exit codes of the verbs, and those that follow from an error or from a job's result. Pure."""

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


class ExitCode(IntEnum):
    """Exit codes of the verbs.

    ``run`` and ``wait`` pass on a job's own exit code; 75 and 124 to 130 report its other results.
    """

    SUCCESS = 0
    SOME_FAILED = 1
    USAGE = 2
    NO_SUCH_JOB = 3
    ALREADY_FINAL = 4
    BROKER_ERROR = 5
    NOT_CONFIRMED = 6
    BUG = 70
    WORKER_LOST = 75
    LIMIT = 124
    OWN_ERROR = 125
    CANNOT_RUN = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    BROKEN_PIPE = 128 + signal.SIGPIPE


class UsageProblem(Exception):
    """A command line is not valid; the message says which part, and why."""


def exit_code_for(error: Exception) -> ExitCode:
    """The exit code of an error."""
    match error:
        case UsageProblem() | InvalidJob() | InvalidSetting() | AmbiguousJobId():
            return ExitCode.USAGE
        case JobNotFound():
            return ExitCode.NO_SUCH_JOB
        case JobAlreadyFinal():
            return ExitCode.ALREADY_FINAL
        case InterruptNotConfirmed() | WaitTimedOut():
            return ExitCode.NOT_CONFIRMED
        case BrokerError() | MalformedData():
            return ExitCode.BROKER_ERROR
        case OneshotQueueError() | OSError():
            # For example, our output cannot be written: neither a usage error nor a bug.
            return ExitCode.SOME_FAILED
        case _:
            return ExitCode.BUG


def exit_code_of_job(record: JobRecord) -> int:
    """The exit code that reports a job's result, by the conventions of a shell."""
    # Compared as strings, which StrEnums are: importing the enums takes too long.
    match str(record.state), str(record.cause):
        case "COMPLETED", _:
            return ExitCode.SUCCESS
        case "INTERRUPTED", _:
            return ExitCode.INTERRUPTED
        case _, "exit":
            # A job fails with 0 only if 0 is not one of its success codes; the caller must still see a failure.
            return record.exit_code or ExitCode.SOME_FAILED
        case _, "signal":
            return 128 + (record.signal or 0)
        case _, "time_limit" | "idle_timeout":
            return ExitCode.LIMIT
        case _, "spawn_error":
            return ExitCode.NOT_FOUND if record.exit_code == ExitCode.NOT_FOUND else ExitCode.CANNOT_RUN
        case _, "worker_lost":
            return ExitCode.WORKER_LOST
        case _:
            return ExitCode.OWN_ERROR


def result_text(record: JobRecord) -> str:
    """A job's result in a few words."""
    spec = record.spec
    text = f"failed ({record.cause})"
    match str(record.state), str(record.cause):
        case "COMPLETED", _:
            text = "completed" if not record.exit_code else f"completed with exit code {record.exit_code}"
        case "INTERRUPTED", _:
            text = "was interrupted" + (f": {record.reason}" if record.reason else "")
        case _, "exit":
            text = f"failed with exit code {record.exit_code}"
        case _, "signal":
            text = f"was killed by {signal_name(record.signal)}"
        case _, "time_limit":
            text = "reached its time limit" + (f" of {spec.time_limit:g} s" if spec and spec.time_limit else "")
        case _, "idle_timeout":
            text = "was idle for too long" + (f" ({spec.idle_timeout:g} s)" if spec and spec.idle_timeout else "")
        case _, "spawn_error":
            text = "could not be started"
        case _, "worker_lost":
            text = "was lost with its worker"
    return text + (f": {record.error}" if record.error else "")


def signal_name(number: int | None) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
