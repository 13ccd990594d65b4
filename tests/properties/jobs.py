"""What the model keeps of jobs, and a worker of its attempts."""

from __future__ import annotations

from dataclasses import dataclass, field

from oneshot_queue.jobs import Priority
from oneshot_queue.states import JobState

Row = tuple[int, JobState, str | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for.

    Attributes:
        retries: How often it may be run again.
        is_retried_late: Whether that happens after a delay that never passes by itself.
        is_delayed: Whether it is submitted with such a delay.
        expires: Whether it need not be started after some time.
    """

    priority: Priority = Priority.NORMAL
    retries: int = 0
    is_retried_late: bool = False
    is_delayed: bool = False
    expires: bool = False


@dataclass(slots=True)
class Job:
    """One job.

    Attributes:
        serial: Which of all jobs that ever were; an id can be used again once its job is forgotten.
        place: The number of its entry among all entries; 0 if it has none.
        decided: The token of the last attempt that was decided without its worker.
        is_pending: Whether the group holds its entry for its lease.
        is_out_of_turn: Whether it was taken before the group came to its entry.
    """

    serial: int
    plan: Plan
    state: JobState = JobState.CREATED
    attempt: int = 1
    token: str = ""
    decided: str | None = None
    lease: str | None = None
    sequence: int = 0
    ordinal: int = 0
    bytes: int = 0
    kept_before: int = 0
    returns: int = 0
    is_interrupted: bool = False
    place: int = 0
    is_pending: bool = False
    is_out_of_turn: bool = False
    rows: list[Row] = field(default_factory=lambda: [(1, JobState.CREATED, None)])


@dataclass(slots=True, eq=False)
class Attempt:
    """What a worker knows of a job that was handed to it."""

    worker: str
    job_id: str
    serial: int
    number: int
    token: str
    lease: str
    sequence: int = 0
    ordinal: int = 0
    has_begun: bool = False
    is_over: bool = False


def number_of(token: str) -> int:
    """The part of a token that only grows."""
    return int(token.partition("-")[0] or 0)
