"""What Redis knows of a job: ``JobRecord``, with its history and output totals; and new job ids. Pure."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState

MAX_TEXT_CHARS: Final = 2_000
"""Longer error and reason texts are cut."""

_LETTER_OF_BYTE: Final = b"abcdefghijklmnopqrstuvwxyz234567" * 8
"""Every letter maps to exactly eight byte values, so ids are uniform."""


def new_job_id() -> str:
    """Draw a random id: 16 characters of lower-case base32 (80 bits)."""
    return new_job_ids(1)[0]


def new_job_ids(count: int) -> list[str]:
    """Draw many ids at once, which costs little more than one."""
    drawn = secrets.token_bytes(16 * count).translate(_LETTER_OF_BYTE).decode("ascii")
    return [drawn[start : start + 16] for start in range(0, 16 * count, 16)]


def text_of(word: str | bytes) -> str:
    r"""Return a word of a command as text; bytes that are not UTF-8 become ``\xNN``."""
    return word if isinstance(word, str) else word.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One change of state.

    An attempt that is retried has a row FAILED, whose ``detail`` says how it ended, such as ``exit 3``. A row CREATED
    for the next attempt follows.

    Attributes:
        at_ms: When it changed, in ms since 1970 by Redis' clock.
        attempt: The number of the attempt; the first is 1.
        by: The name of the worker, or the user and host, that changed it.
    """

    state: JobState
    at_ms: int
    attempt: int
    cause: str | None
    by: str | None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class OutputTotals:
    """How many bytes a job wrote on both streams together, and how many of them were not kept."""

    bytes: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class JobRecord:
    """Everything that Redis knows of a job. Times are in ms since 1970 by Redis' clock.

    Attributes:
        spec: What the job was asked to do; ``None`` if the stored bytes are malformed. Its ``stdin`` is not read.
        interrupting: Whether an interrupt is recorded that has not ended the job yet.
        history_dropped: How many rows were dropped between the first 20 and the last 200 of ``history``.
        outputs_dropped: The last attempt whose output was deleted, as was that of all before it; 0 if there is none.
        due_ms: The earliest start of a delayed job.
        expires_ms: When the job fails if no worker has started it.
        is_confirmed: Whether its own worker saw that no process was left; false if others settled the job.
    """

    id: str
    queue: str
    state: JobState
    attempt: int
    created_ms: int
    changed_ms: int
    spec: JobSpec | None
    cause: Cause | None = None
    error: str | None = None
    reason: str | None = None
    worker: str | None = None
    host: str | None = None
    pid: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    last_output_ms: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    interrupting: bool = False
    interrupt_requested_ms: int | None = None
    survivors: int = 0
    output: OutputTotals = OutputTotals()
    usage: Usage | None = None
    history: tuple[HistoryRow, ...] = ()
    history_dropped: int = 0
    outputs_dropped: int = 0
    due_ms: int | None = None
    expires_ms: int | None = None
    is_confirmed: bool = True

    def outcome(self) -> Outcome:
        """How the latest attempt ended; only for a job in a final state."""
        return Outcome(
            state=self.state,
            cause=self.cause or Cause.EXIT,
            exit_code=self.exit_code,
            signal=self.signal,
            attempt=self.attempt,
            usage=self.usage or Usage(),
            error=self.error,
        )
