"""Points at which tests make a worker kill itself (SIGKILL), to check what happens to its jobs.

``ONESHOT_CRASH_AT`` names a point, or ``point:N`` for the N-th pass. It takes effect only with
``ONESHOT_TEST_FAULTS=1``. ``ONESHOT_CRASH_MARK`` names a file that the crashing worker creates. If the file exists, no
worker crashes, so the replacement survives. Jobs do not see these variables.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

POINTS: Final = (
    "after_claim",  # the reply has arrived, none of its jobs is held yet
    "before_spawn",
    "after_spawn",  # the process exists, but is not registered
    "after_exit",  # the exit status is known, the result is not
    "before_finish",  # the result is about to be sent
    "after_finish",  # Redis recorded the result, the reply is not processed
    "in_renew",  # Redis renewed the lease, the reply is not processed
    "before_signal",  # an interrupt has arrived, no process was signalled
)


@dataclass(slots=True)
class CrashPlan:
    """Where to crash.

    Attributes:
        passes_left: Crash when this reaches 0.
        mark: File to create at the crash. If it exists, do not crash.
    """

    point: str
    passes_left: int = 1
    mark: str | None = None


def crash_plan(environ: Mapping[str, str]) -> CrashPlan | None:
    """Read the plan from the environment; ``None`` outside of tests.

    Raises:
        ValueError: The environment names an unknown point.
    """
    wanted = environ.get("ONESHOT_CRASH_AT")
    if not wanted or environ.get("ONESHOT_TEST_FAULTS") != "1":
        return None
    point, _, passes = wanted.partition(":")
    if point not in POINTS:
        raise ValueError(f"ONESHOT_CRASH_AT={wanted}: unknown crash point; valid points: {', '.join(POINTS)}")
    return CrashPlan(point, int(passes or 1), environ.get("ONESHOT_CRASH_MARK"))


_PLAN: Final = crash_plan(os.environ)


def crash_at(point: str) -> None:
    """Kill this process if the plan names this point."""
    if _PLAN is not None and _PLAN.point == point:
        _pass(_PLAN)


def _pass(plan: CrashPlan) -> None:
    plan.passes_left -= 1
    if plan.passes_left == 0 and _is_first(plan.mark):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_first(mark: str | None) -> bool:
    if mark is None:
        return True
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True
