"""Turns the exit of a process into the outcome of its attempt."""

from __future__ import annotations

from collections.abc import Collection

from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.states import JobState
from oneshot_queue.workers.processes.process import ExitStatus


def outcome_of(
    exited: ExitStatus | None,
    ended_for: Cause | None,
    success_codes: Collection[int],
    *,
    attempt: int,
    survivors: tuple[int, ...] = (),
) -> Outcome:
    """Return the outcome of an attempt whose process was started.

    Args:
        exited: How the leader exited; ``None`` if it survived SIGKILL.
        ended_for: Why the engine ended it: ``interrupted``, ``time_limit``, ``idle_timeout`` or ``worker_lost``.
            ``None`` if it ended by itself.
        success_codes: Exit codes that count as COMPLETED.
        survivors: Process ids that survived SIGKILL.
    """
    code = exited.code if exited else None
    number = exited.signal if exited else None
    usage = exited.usage if exited else Usage()
    if ended_for is not None:
        cause = ended_for
        state = JobState.INTERRUPTED if ended_for is Cause.INTERRUPTED else JobState.FAILED
    else:
        cause = Cause.EXIT if number is None else Cause.SIGNAL
        state = JobState.COMPLETED if code in success_codes else JobState.FAILED
    return Outcome(
        state,
        cause,
        exit_code=code,
        signal=number,
        attempt=attempt,
        usage=usage,
        error=_error(exited, survivors),
        survivors=survivors,
    )


def _error(exited: ExitStatus | None, survivors: tuple[int, ...]) -> str | None:
    if survivors:
        return f"processes that survived SIGKILL: {', '.join(map(str, survivors))}"
    if exited is not None and exited.code is None and exited.signal is None:
        return "exit status unknown: other code in this process waits for any child, or ignores SIGCHLD"
    return None
