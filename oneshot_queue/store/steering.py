"""Calls that control a job from outside: interrupting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call, Word, scripted, text
from oneshot_queue.store.fields import field, one_line
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.retention import retention_of


@dataclass(frozen=True, slots=True)
class Ended:
    """The job ended at once, because it was waiting or its worker has no lease.

    Attributes:
        is_confirmed: False if processes of the job may be alive, because its worker is gone.
    """

    state: JobState
    ended_ms: int
    is_confirmed: bool = True


@dataclass(frozen=True, slots=True)
class IntentRecorded:
    """The interrupt is recorded; the worker that holds the job will carry it out."""

    state: JobState
    worker: str


@dataclass(frozen=True, slots=True)
class AlreadyFinal:
    """The job had ended; nothing was written."""

    state: JobState
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such job; nothing was written."""


def interrupt(
    keys: QueueKeys, job_id: str, *, grace: float | None, by: str, reason: str | None, settings: Settings
) -> Call[Ended | IntentRecorded | AlreadyFinal | Missing]:
    """Interrupt a job. Repeat it with a shorter grace to end the job sooner.

    Args:
        grace: Seconds between SIGTERM and SIGKILL; ``None`` for the job's own.
        by: Name of the caller, for the history.
        reason: Text for users.
    """

    def read(reply: Any) -> Ended | IntentRecorded | AlreadyFinal | Missing:
        match reply:
            case [b"ended", state, ended_ms, confirmed]:
                return Ended(JobState(text(state)), int(ended_ms), confirmed == 1)
            case [b"recorded", state, worker]:
                return IntentRecorded(JobState(text(state)), text(worker))
            case [b"final", state, ended_ms]:
                return AlreadyFinal(JobState(text(state)), int(ended_ms))
            case _:
                return Missing()

    _, keep_ms, max_jobs, max_bytes = retention_of(settings)
    grace_ms: Word = "" if grace is None else round(grace * 1000)
    args: tuple[Word, ...] = (job_id, grace_ms, field(by), one_line(reason or ""), keep_ms, max_jobs, max_bytes)
    return scripted("interrupt", (keys.prefix, keys.job(job_id)), args, read)
