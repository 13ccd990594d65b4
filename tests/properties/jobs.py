"""The data of the model: jobs, and the attempts that a worker knows."""

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
    """The options of a job.

    Attributes:
        retries: Number of retries.
        retry_s: Seconds before a retry.
        delay_s: Seconds until it is due; ``None`` if it is not delayed.
        expires_s: Seconds after which it must no longer start.
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
        serial: Its number among all jobs ever; an id can be used again once its job is deleted.
        place: The number of its entry among all entries; 0 if it has none.
        settled_token: The token of the last attempt that was settled without its worker.
        is_pending: Whether its entry is pending in the consumer group for its lease.
        is_out_of_turn: Whether it was claimed before the group delivered its entry.
        expires_ms: The expiry to restore if it returns without having started.
        is_confirmed: Whether its result proves that none of its processes is left.
    """

    serial: int
    plan: Plan
    rows: list[Row]
    state: JobState = JobState.CREATED
    attempt: int = 1
    token: str = ""
    settled_token: str | None = None
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
        """The time at which it entered its state."""
        return self.rows[-1].at_ms


@dataclass(slots=True, eq=False)
class Attempt:
    """What a worker knows of a job that it claimed.

    Attributes:
        is_forgotten: Whether the server lost this claim, and so may hand the job out again.
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
    """The part of its token that a finished job keeps."""
    number, dash, random = token.partition("-")
    return number + dash + random[:4]


def number_of(token: str) -> int:
    """The part of a token that always grows."""
    return int(token.partition("-")[0] or 0)
