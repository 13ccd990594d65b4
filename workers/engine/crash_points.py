"""Places where a worker can be made to die at once (SIGKILL), so that tests see what becomes of its jobs.

``ONESHOT_CRASH_AT`` names a point, or ``point:N`` for the N-th time it is passed. It is heeded only together with
``ONESHOT_TEST_FAULTS=1``, and ignored without. ``ONESHOT_CRASH_MARK`` is a file to make at that moment; while it is
there nobody crashes, so that the replacement of the worker lives. Jobs see none of these variables.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

POINTS: Final = (
    "after_claim",  # the reply is here, none of its jobs is held
    "before_spawn",
    "after_spawn",  # the process is there, nothing knows of it
    "after_exit",  # its status is known, its end is not
    "before_finish",  # the end is about to be sent
    "after_finish",  # the end is on record, and the reply is not taken in
    "in_renew",  # the lease is renewed, and the reply is not taken in
    "before_signal",  # an interrupt was seen, no process was signalled
)


@dataclass(slots=True)
class CrashPlan:
    """Where to crash, at which time of passing (counted down), and what file to make then."""

    point: str
    passes_left: int = 1
    mark: str | None = None


def crash_plan(environ: Mapping[str, str]) -> CrashPlan | None:
    """Read the plan; ``None`` for whoever is not under test.

    Raises:
        ValueError: There is no such point.
    """
    wanted = environ.get("ONESHOT_CRASH_AT")
    if not wanted or environ.get("ONESHOT_TEST_FAULTS") != "1":
        return None
    point, _, passes = wanted.partition(":")
    if point not in POINTS:
        raise ValueError(f"ONESHOT_CRASH_AT={wanted}: no such point; there are {', '.join(POINTS)}")
    return CrashPlan(point, int(passes or 1), environ.get("ONESHOT_CRASH_MARK"))


_PLAN: Final = crash_plan(os.environ)


def crash_at(point: str) -> None:
    """Die here, if that is the plan."""
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
