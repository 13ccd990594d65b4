"""From how a process ended, and what was done to it, to how its attempt ended."""

from __future__ import annotations

from collections.abc import Collection

from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.states import JobState
from oneshot_queue.workers.processes.process import Exit


def outcome_of(
    exited: Exit | None,
    ended_for: Cause | None,
    success_codes: Collection[int],
    *,
    attempt: int,
    survivors: tuple[int, ...] = (),
) -> Outcome:
    """Judge an attempt whose process had begun.

    Args:
        exited: How its leader ended; ``None`` if it survived SIGKILL.
        ended_for: Why its end was brought about, if it was: ``interrupted``, ``time_limit``,
            ``idle_timeout`` or ``worker_lost``.
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


def _error(exited: Exit | None, survivors: tuple[int, ...]) -> str | None:
    if survivors:
        return f"these processes survived SIGKILL: {', '.join(map(str, survivors))}"
    if exited is not None and exited.code is None and exited.signal is None:
        return "its exit status was taken by other code of this process that waits for any child, or ignores SIGCHLD"
    return None
