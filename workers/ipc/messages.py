"""What a supervisor and its worker processes say to each other, and the channel it goes over.

A pair of sockets that keeps messages whole. The channel also carries life and death: its end tells a worker that its
supervisor is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from oneshot_queue.workers.ipc.options import WorkerOptions


class Stage(IntEnum):
    """How urgently a worker is asked to stop."""

    RUNNING = 0
    FINISHING = 1
    """Takes no more jobs; those it has may take as long as they need."""
    DRAINING = 2
    """The same, but they may take no longer than the drain timeout."""
    INTERRUPTING = 3
    KILLING = 4

    def next_request(self) -> Stage:
        """Where one more request to stop leads."""
        return Stage(min(max(self + 1, Stage.DRAINING), Stage.KILLING))


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker process is to be; its notes come along as a file, and so does the lock of its folder if it has one.

    Attributes:
        supervisor: An id that all worker processes of one supervisor share.
        process: Its number among ``processes``, from 1.
        folder: Where its files are; ``None`` if it has none.
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
    """Stop at least as urgently as this."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Recover:
    """Decide about the jobs of a worker that died; its notes come along as a file.

    Attributes:
        survivors: The process ids of what came from it and could not be ended.
    """

    worker_id: str
    folder: str | None
    survivors: list[int]


@dataclass(frozen=True, slots=True)
class Opened:
    """The worker is registered with the broker, and takes jobs."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker gives up.

    Attributes:
        code: The exit code for it.
        text: What a person should read.
        needs_person: Whether any other worker would fail the same way until a person changes something.
    """

    code: int
    text: str
    needs_person: bool


@dataclass(frozen=True, slots=True)
class Decided:
    """All jobs of that estate are decided, and on record."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The worker cannot take on that estate now."""

    worker_id: str


Message = Assignment | Stop | Recover | Opened | Failed | Decided | Declined
