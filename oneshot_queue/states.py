"""The life of a job: six states and six events.

::

    CREATED --start--> RUNNING <--detect_activity / detect_silence--> IDLE
       |                  |                                             |
       +------------------+-- interrupt --> INTERRUPTED (final) <-------+
       +------------------+-- fail -------> FAILED      (final) <-------+
                          +-- finish -----> COMPLETED   (final) <-------+

``OneshotStateMachine`` is the single source of truth. The table that other modules read and the guards in the Lua
scripts are derived from it; a test compares all three on all 36 (state, event) pairs.

States, and who moves a job out of them:

``CREATED``
    Enqueued and waiting. A worker's claim starts it; an interrupt ends it at once, without a worker.
``RUNNING``
    A worker holds it, and its process has written something within ``idle_after``.
``IDLE``
    Its process lives but has written nothing for ``idle_after``. Output makes it RUNNING again.
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
    """Where a job is in its life. Redis stores the values, and every command prints them."""

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
    """The task of an attempt, as the state machine needs it: its process can be terminated."""

    def terminate(self) -> None:
        """Begin to terminate the process group; must not block."""


class OneshotStateMachine(StateMachine):
    """The states of one attempt, bound to the task that runs it.

    Entering INTERRUPTED *is* the interrupt: the handler begins to terminate the task's process. Callbacks are
    synchronous and do no I/O of their own, so that an event either happens completely or raises.

    Args:
        task: The task whose process ``on_enter_INTERRUPTED`` terminates; ``None`` to track the state only.

    Raises:
        statemachine.exceptions.TransitionNotAllowed: The event is not allowed in this state, which did not change.
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
        """Serve a new attempt: return to CREATED and bind its task. This costs less than a new machine."""
        self.current_state = type(self).CREATED
        self.task = task

    def on_enter_INTERRUPTED(self) -> None:  # noqa: N802 - python-statemachine finds the handler by the state's name
        """Terminate the process of the bound task."""
        if self.task is not None:
            self.task.terminate()

    @property
    def state(self) -> JobState:
        """The state that the machine is in."""
        return JobState(self.current_state_value)


TRANSITIONS: Final[Mapping[tuple[JobState, str], JobState]] = MappingProxyType(
    {
        (JobState(source.value), str(event)): JobState(transition.target.value)
        for source in OneshotStateMachine.states
        for transition in source.transitions
        for event in transition.events
    }
)
"""``(state, event) -> next state``; an absent pair is not allowed."""

EVENTS: Final[tuple[str, ...]] = tuple(dict.fromkeys(event for _, event in TRANSITIONS))
"""The names of the six events."""

FINAL_STATES: Final[frozenset[JobState]] = frozenset(
    JobState(state.value) for state in OneshotStateMachine.states if state.final
)

STATES_BY_LETTER: Final[Mapping[str, JobState]] = MappingProxyType(
    {
        "c": JobState.CREATED,
        "r": JobState.RUNNING,
        "i": JobState.IDLE,
        "I": JobState.INTERRUPTED,
        "C": JobState.COMPLETED,
        "F": JobState.FAILED,
    }
)
"""The letters that stand for the states in a short history; ``STATE_LETTERS`` of the Lua scripts is the inverse."""
