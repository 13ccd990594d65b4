"""Runs workers from their options to the exit code: a supervisor in this process, and worker processes below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oneshot_queue.local_broker import state_folder
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.supervisor.child import PROGRAM
from oneshot_queue.workers.supervisor.supervisor import Supervisor
from oneshot_queue.workers.supervisor.worker_dirs import abandoned

WORKER_PROGRAM: Sequence[str] = PROGRAM

__all__ = ["Leftover", "WorkerOptions", "find_leftovers", "run_workers"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """What one dead worker left on this machine.

    Attributes:
        has_spool: Whether results that no server has accepted yet are among it.
    """

    worker_id: str
    has_spool: bool


def find_leftovers() -> list[Leftover]:
    """List what dead workers of this user left on this machine, and change nothing.

    A folder that is missing or belongs to another user counts as empty.
    """
    found = []
    try:
        for each in abandoned(state_folder() / "workers"):
            found.append(Leftover(each.worker_id, each.has_spool))
            each.close()
    except OSError:
        pass
    return found


def run_workers(options: WorkerOptions) -> int:
    """Run workers until they are stopped; in burst mode until their queues are empty.

    Returns:
        0 when they stopped as they were asked to, 5 if the broker is out of reach or refuses, 2 if an option makes no
        sense.
    """
    return Supervisor(options, program=WORKER_PROGRAM).run()
