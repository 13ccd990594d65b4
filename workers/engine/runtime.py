"""What all tasks of one orchestrator share: clock, observers, environment, process tree, start log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
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
    """The start log does not allow a start now. The message says why."""


class StartLog(Protocol):
    """Records outside of this process which commands may have been started, for recovery after a crash.

    Calls are cheap and do not block.
    """

    def begin(self, task_id: str) -> None:
        """Record that the command may be started from now on.

        Raises:
            StartForbidden: The command must not be started now.
        """

    def withdraw(self, task_id: str) -> None:
        """Record that the command was not started after all."""

    def started(self, task_id: str, pid: int, first_tick: int, last_tick: int) -> None:
        """Record the process of the command, and the clock ticks since boot between which it was started."""

    def exited(self, task_id: str, exit_code: int | None) -> None:
        """Record that the process was reaped: its exit code, the negative signal number, or ``None`` if unknown."""


class NoStartLog:
    """A start log that records nothing, for callers who need no crash recovery."""

    def begin(self, task_id: str) -> None:
        """Do nothing."""

    def withdraw(self, task_id: str) -> None:
        """Do nothing."""

    def started(self, task_id: str, pid: int, first_tick: int, last_tick: int) -> None:
        """Do nothing."""

    def exited(self, task_id: str, exit_code: int | None) -> None:
        """Do nothing."""


@dataclass(slots=True, kw_only=True)
class Runtime:
    """What all tasks of one orchestrator share.

    Attributes:
        observers: Called in this order with every event.
        environment: Variables of every process, overridden by those of the job.
        capture: Whether output is kept in memory for ``Outcome.output``.
        head_bytes: How much of the start of each stream is kept.
        tail_bytes: How much of the end of each stream is kept.
        survive_s: Seconds after SIGKILL until a live process is reported as a survivor.
        reuses_machines: Whether a state machine serves one task after another. The machine of an ended task must then
            not be read.
        is_sealed: Whether all descriptors of this process but 0, 1 and 2 close on ``exec``.
        tree: Finds the processes of each attempt.
        readiness: Watches the descriptors of all tasks.
        starts: Records each start before it happens.
    """

    clock: Clock = field(default_factory=SystemClock)
    observers: Sequence[Observer] = ()
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
        """Call every observer with an event, in order. An error is logged, and the other observers are still called."""
        for observer in self.observers:
            guarded(observer, event)

    def machine_for(self, task: Terminable) -> OneshotStateMachine:
        """Return a state machine in CREATED, bound to the task."""
        if not self._idle_machines:
            return OneshotStateMachine(task)
        machine = self._idle_machines.pop()
        machine.begin_anew(task)
        return machine

    def give_back(self, machine: OneshotStateMachine) -> None:
        """Return the machine of a task that has ended, for reuse."""
        if self.reuses_machines:
            self._idle_machines.append(machine)

    def close(self) -> None:
        """Close the descriptors. No task may be running."""
        self.readiness.close()
        self.tree.close()

    def new_capture(self) -> OutputCapture | None:
        """Return a capture for one task, or ``None`` if output is not kept."""
        return OutputCapture(head_bytes=self.head_bytes, tail_bytes=self.tail_bytes) if self.capture else None


def guarded(callback: Callable[..., object], *arguments: object) -> None:
    """Call a callback that must not raise. Log its error, so that a faulty callback harms no task."""
    try:
        callback(*arguments)
    except Exception:
        logger.exception("a callback raised", extra={"callback": repr(callback)})
