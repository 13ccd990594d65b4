"""Runs workers from their options to the exit code: a supervisor in this process, and worker processes below it."""

from __future__ import annotations

from collections.abc import Sequence

from workers.options import WorkerOptions
from workers.supervision.child import PROGRAM
from workers.supervision.supervisor import Supervisor

WORKER_PROGRAM: Sequence[str] = PROGRAM

__all__ = ["WorkerOptions", "run_workers"]


def run_workers(options: WorkerOptions) -> int:
    """Run workers until they are stopped; in burst mode until their queues are empty.

    Returns:
        0 when they stopped as they were asked to, 5 if the broker is out of reach or refuses, 2 if an option makes no
        sense.
    """
    return Supervisor(options, program=WORKER_PROGRAM).run()
