"""The library's only door into this package: ``run_workers`` runs a supervisor and its worker processes."""

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
        worker_id: Id of the worker.
        has_spool: Whether it left results that no server has accepted yet.
    """

    worker_id: str
    has_spool: bool


def find_leftovers() -> list[Leftover]:
    """List what dead workers of this user left on this machine, without changing anything.

    A state folder that is missing or belongs to another user counts as empty.
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
    """Run workers until they are stopped, or in burst mode until their queues are empty.

    Returns:
        The exit code: 0 after a requested stop, 2 for an invalid option, 5 if the broker cannot be reached or refuses.
    """
    return Supervisor(options, program=WORKER_PROGRAM).run()
