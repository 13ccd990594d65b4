"""What all tasks of one orchestrator share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from oneshot_queue.clock import Clock, SystemClock
from oneshot_queue.outcomes import HEAD_BYTES, TAIL_BYTES
from oneshot_queue.states import OneshotStateMachine, Terminable
from oneshot_queue.task_events import Event, Observer
from oneshot_queue.workers.engine.capture import OutputCapture
from oneshot_queue.workers.processes.process_tree import ProcessTree
from oneshot_queue.workers.processes.readiness import Readiness

logger = logging.getLogger(__name__)


class StartForbidden(Exception):
    """A command must not be started now; the message says why."""


class StartLog(Protocol):
    """Writes down, outside of this process, which commands may have been started; cheap, and never waits."""

    def begin(self, task_id: str) -> None:
        """From now on the command may have been started.

        Raises:
            StartForbidden: It must not be, now.
        """

    def withdraw(self, task_id: str) -> None:
        """Nothing was started after all."""

    def started(self, task_id: str, pid: int, first_tick: int, last_tick: int) -> None:
        """It was started, as this process, between these clock ticks since boot."""

    def exited(self, task_id: str, exit_code: int | None) -> None:
        """Its process was reaped: its code, the negative of its signal, or ``None`` if nobody knows."""


class NoStartLog:
    """For whom it does not matter what was started, should this process die."""

    def begin(self, task_id: str) -> None:
        """Nobody needs to know."""

    def withdraw(self, task_id: str) -> None:
        """Nobody needs to know."""

    def started(self, task_id: str, pid: int, first_tick: int, last_tick: int) -> None:
        """Nobody needs to know."""

    def exited(self, task_id: str, exit_code: int | None) -> None:
        """Nobody needs to know."""


@dataclass(slots=True, kw_only=True)
class Runtime:
    """The surroundings of a task: its clock, who is told, what its process inherits, and where its processes are found.

    Attributes:
        observers: Called in this order with every event.
        environment: What each process gets before its own variables.
        capture: Whether output is kept in memory for ``Outcome.output``.
        survive_s: Seconds after SIGKILL until what still lives is reported as a survivor.
        starts: Where each start is written down before it happens.
        reuses_machines: A state machine serves one task after another; nobody may look at that of a task that ended.
        is_sealed: Whether no descriptor of this process but 0, 1 and 2 outlives an ``exec``.
    """

    clock: Clock = field(default_factory=SystemClock)
    observers: tuple[Observer, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    capture: bool = True
    head_bytes: int = HEAD_BYTES
    tail_bytes: int = TAIL_BYTES
    survive_s: float = 30.0
    reuses_machines: bool = False
    is_sealed: bool = False
    tree: ProcessTree = field(default_factory=lambda: ProcessTree(owns_children=False))
    readiness: Readiness = field(default_factory=Readiness)
    starts: StartLog = field(default_factory=NoStartLog)
    _idle_machines: list[OneshotStateMachine] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        """Tell every observer."""
        for observer in self.observers:
            guarded(observer, event)

    def machine_for(self, task: Terminable) -> OneshotStateMachine:
        """A machine in CREATED, bound to the task."""
        if not self._idle_machines:
            return OneshotStateMachine(task)
        machine = self._idle_machines.pop()
        machine.begin_anew(task)
        return machine

    def give_back(self, machine: OneshotStateMachine) -> None:
        """The machine's task has ended."""
        if self.reuses_machines:
            self._idle_machines.append(machine)

    def close(self) -> None:
        """Close its descriptors; no task of it runs any more."""
        self.readiness.close()
        self.tree.close()

    def new_capture(self) -> OutputCapture | None:
        """Where a task keeps its output, if it does."""
        return OutputCapture(head_bytes=self.head_bytes, tail_bytes=self.tail_bytes) if self.capture else None


def guarded(callback: Callable[..., object], *arguments: object) -> None:
    """Call somebody else's function. One that raises breaks its contract: it is logged, and no task suffers."""
    try:
        callback(*arguments)
    except Exception:
        logger.exception("a callback raised", extra={"callback": repr(callback)})
