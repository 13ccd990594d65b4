"""The messages between a supervisor and its worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from oneshot_queue.workers.ipc.options import WorkerOptions


class Stage(IntEnum):
    """How urgently a worker is asked to stop; each stage includes those before it."""

    RUNNING = 0
    FINISHING = 1
    """Take no new jobs; running jobs may take as long as they need."""
    DRAINING = 2
    """Take no new jobs; running jobs get the drain timeout."""
    INTERRUPTING = 3
    """Interrupt running jobs, each with its grace period."""
    KILLING = 4
    """Kill running jobs."""

    def next_request(self) -> Stage:
        """Return the stage after one more request to stop."""
        return Stage(min(max(self + 1, Stage.DRAINING), Stage.KILLING))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Down: what a worker process is to do. Comes with the files of its journal and, if it has one, of its lock.

    Attributes:
        supervisor: An id shared by all worker processes of one supervisor.
        process: Number of this process among ``processes``, from 1.
        folder: The worker dir; ``None`` if there is none.
        cgroup: The control group to enter before any job is started; ``None`` if there is none.
    """

    worker_id: str
    supervisor: str
    process: int
    processes: int
    folder: str | None
    cgroup: str | None
    options: WorkerOptions


@dataclass(frozen=True, slots=True)
class Stop:
    """Down: stop at least as urgently as this."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Recover:
    """Down: record the results of a dead worker's jobs. Comes with the file of its journal.

    Attributes:
        folder: The dead worker's worker dir; ``None`` if it had none.
        survivors: Ids of its jobs' processes that could not be killed.
    """

    worker_id: str
    folder: str | None
    survivors: list[int]


@dataclass(frozen=True, slots=True)
class Opened:
    """Up: the worker is registered with the broker and takes jobs."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Up: the worker cannot start or go on, and exits.

    Attributes:
        code: Its exit code.
        text: The reason, for people.
        needs_person: Whether every worker would fail the same way until a person changes something.
    """

    code: int
    text: str
    needs_person: bool


@dataclass(frozen=True, slots=True)
class Recovered:
    """Up: all jobs of that dead worker are recorded."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class RecoveryDeclined:
    """Up: the worker cannot recover that dead worker now."""

    worker_id: str


Message = Assignment | Stop | Recover | Opened | GaveUp | Recovered | RecoveryDeclined
