"""The life of a job: six states, six events, and nothing else.

::

    CREATED --start--> RUNNING <--detect_activity / detect_silence--> IDLE
       |                  |                                             |
       +------------------+-- interrupt --> INTERRUPTED (final) <-------+
       +------------------+-- fail -------> FAILED      (final) <-------+
                          +-- finish -----> COMPLETED   (final) <-------+

``OneshotStateMachine`` is the only source. The table other modules read, the guards inside the Lua scripts and the
diagrams in the docs are derived from it; a test holds all three equal on all 36 (state, event) pairs.

States, and who moves a job out of them:

``CREATED``
    Accepted and waiting. A worker's claim starts it; an interrupt ends it at once, without a worker.
``RUNNING``
    A worker holds it, and its process has written something within ``idle_after``.
``IDLE``
    Its process lives but has been silent for ``idle_after``. An observation, not a sentence: output brings it back.
``INTERRUPTED``, ``COMPLETED``, ``FAILED``
    Final. A job never leaves these.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from statemachine import State, StateMachine


class JobState(StrEnum):
    """Where a job stands. The values are what Redis stores and what every command prints."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    IDLE = "IDLE"
    INTERRUPTED = "INTERRUPTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether no event leads out of this state."""
        return self in FINAL_STATES


class Terminable(Protocol):
    """What the machine needs of the task it is bound to: a way to begin ending its process."""

    def terminate(self) -> None:
        """Begin ending the process group; must not block."""


class OneshotStateMachine(StateMachine):
    """The states of one attempt, bound to the task that runs it.

    Entering INTERRUPTED *is* the interrupt: the handler begins to terminate the task's process. Callbacks stay
    synchronous and do no I/O of their own, so that an event either happened or raised.

    Args:
        task: Whose process ``on_enter_INTERRUPTED`` terminates; without one, the machine only keeps the books.

    Raises:
        statemachine.exceptions.TransitionNotAllowed: An event that its state does not allow; nothing changed.
    """

    CREATED = State(value="CREATED", initial=True)
    RUNNING = State(value="RUNNING")
    IDLE = State(value="IDLE")
    INTERRUPTED = State(value="INTERRUPTED", final=True)
    COMPLETED = State(value="COMPLETED", final=True)
    FAILED = State(value="FAILED", final=True)

    start = CREATED.to(RUNNING)
    detect_silence = RUNNING.to(IDLE)
    detect_activity = IDLE.to(RUNNING)
    interrupt = CREATED.to(INTERRUPTED) | RUNNING.to(INTERRUPTED) | IDLE.to(INTERRUPTED)
    finish = RUNNING.to(COMPLETED) | IDLE.to(COMPLETED)
    fail = CREATED.to(FAILED) | RUNNING.to(FAILED) | IDLE.to(FAILED)

    def __init__(self, task: Terminable | None = None, **kwargs: Any) -> None:
        self.task = task
        super().__init__(**kwargs)

    def begin_anew(self, task: Terminable) -> None:
        """Be the machine of a new attempt: back in CREATED, bound to its task, and cheaper than a new one."""
        self.current_state = type(self).CREATED
        self.task = task

    def on_enter_INTERRUPTED(self) -> None:  # noqa: N802 - python-statemachine finds the handler by the state's name
        """Terminate the process of the task this machine is bound to."""
        if self.task is not None:
            self.task.terminate()

    @property
    def state(self) -> JobState:
        """The one state the machine is in."""
        return JobState(self.current_state_value)


TRANSITIONS: Final[Mapping[tuple[JobState, str], JobState]] = MappingProxyType(
    {
        (JobState(source.value), str(event)): JobState(transition.target.value)
        for source in OneshotStateMachine.states
        for transition in source.transitions
        for event in transition.events
    }
)
"""``(state, event) -> next state``; a pair that is absent is not allowed."""

EVENTS: Final[tuple[str, ...]] = tuple(dict.fromkeys(event for _, event in TRANSITIONS))
"""Names of the six events."""

FINAL_STATES: Final[frozenset[JobState]] = frozenset(
    JobState(state.value) for state in OneshotStateMachine.states if state.final
)
