"""What was asked for (``JobSpec``), what became of it (``JobRecord``), and how an attempt ended (``Outcome``).

Values only: nothing here does I/O. A ``JobSpec`` that exists is valid; whatever made no sense was refused by name.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState

MAX_TEXT_CHARS: Final = 2_000
"""Longest error or reason text that is kept."""


_LETTER_OF_BYTE: Final = b"abcdefghijklmnopqrstuvwxyz234567" * 8
"""Each of the 32 stands for as many bytes as every other."""


def new_job_id() -> str:
    """Draw an id: 16 random characters of lower-case base32 (80 bits)."""
    return new_job_ids(1)[0]


def new_job_ids(count: int) -> list[str]:
    """Draw many ids, which costs little more than one."""
    drawn = secrets.token_bytes(16 * count).translate(_LETTER_OF_BYTE).decode("ascii")
    return [drawn[start : start + 16] for start in range(0, 16 * count, 16)]


def text_of(word: str | bytes) -> str:
    r"""Show a word of a command: UTF-8 as text, every other byte as ``\xNN``."""
    return word if isinstance(word, str) else word.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One entry into a state: when (ms since 1970, Redis' clock), in which attempt, why, and by whom.

    An attempt that is followed by another ends with a row FAILED of its own, which says in ``detail`` how (``exit 3``),
    and the next one begins with a row CREATED.
    """

    state: JobState
    at_ms: int
    attempt: int
    cause: str | None
    by: str | None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class OutputTotals:
    """How much a job wrote, and how much of that was not kept, in bytes over both streams."""

    bytes: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class JobRecord:
    """All that Redis knows of a job. Instants are ms since 1970 by Redis' clock; ``None`` where there is none.

    Attributes:
        spec: What was asked for, or ``None`` if the stored bytes are malformed. Its ``stdin`` is not read back.
        interrupting: Whether an interrupt is on record that has not ended the job yet.
        history_dropped: Rows left out between the first 20 and the last 200 of ``history``.
        outputs_dropped: Up to which attempt, from the first on, no output is kept any more.
        due_ms: When a job that waits for its time may be started.
        expires_ms: When a job that nobody has started ends by itself.
        is_confirmed: Whether its worker itself saw that no process was left; false if others had to decide its end.
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
        """How the newest attempt ended; only for a job whose state is final."""
        return Outcome(
            state=self.state,
            cause=self.cause or Cause.EXIT,
            exit_code=self.exit_code,
            signal=self.signal,
            attempt=self.attempt,
            usage=self.usage or Usage(),
            error=self.error,
        )
