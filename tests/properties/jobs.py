"""What the model keeps of jobs, and a worker of its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState

SOON_S: Final = 30.0
LATE_S: Final = 10_000.0


class Row(NamedTuple):
    """One row of a job's history."""

    at_ms: int
    attempt: int
    state: JobState
    cause: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for.

    Attributes:
        retries: How often it may be run again.
        retry_s: Seconds until that happens.
        delay_s: Seconds until it is due, if it is to wait.
        expires_s: Seconds after which it need not be started any more.
    """

    priority: Priority = Priority.NORMAL
    retries: int = 0
    retry_s: float = 0.0
    delay_s: float | None = None
    expires_s: float | None = None


@dataclass(slots=True)
class Job:
    """One job.

    Attributes:
        serial: Which of all jobs that ever were; an id can be used again once its job is forgotten.
        place: The number of its entry among all entries; 0 if it has none.
        decided: The token of the last attempt that was decided without its worker.
        is_pending: Whether the group holds its entry for its lease.
        is_out_of_turn: Whether it was taken before the group came to its entry.
        expires_ms: When it expires once more, should it come back without having begun.
        is_confirmed: Whether none of its processes can be left once it has ended.
    """

    serial: int
    plan: Plan
    rows: list[Row]
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
    is_confirmed: bool = True
    place: int = 0
    is_pending: bool = False
    is_out_of_turn: bool = False
    expires_ms: int | None = None

    @property
    def changed_ms(self) -> int:
        """When it came into its state."""
        return self.rows[-1].at_ms


@dataclass(slots=True, eq=False)
class Attempt:
    """What a worker knows of a job that was handed to it.

    Attributes:
        is_forgotten: Whether the server has forgotten it: then it may hand it out once more.
    """

    worker: str
    job_id: str
    serial: int
    number: int
    token: str
    lease: str
    sequence: int = 0
    ordinal: int = 0
    has_begun: bool = False
    is_forgotten: bool = False
    is_over: bool = False


def short(token: str) -> str:
    """What a job that has ended still has of its token."""
    number, dash, random = token.partition("-")
    return number + dash + random[:4]


def number_of(token: str) -> int:
    """The part of a token that only grows."""
    return int(token.partition("-")[0] or 0)
