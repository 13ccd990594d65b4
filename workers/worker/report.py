"""The lines that a worker writes to standard error for the person who started it, one for each event."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from oneshot_queue.jobs import text_of
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.workers.ipc.console import Console
from oneshot_queue.workers.worker.state.held_jobs import HeldJob

MAX_COMMAND_CHARS: Final = 100


class Report(Console):
    """Writes one line for each event in the life of the worker and its jobs."""

    def opened(self, *, name: str, broker: str, queues: Sequence[str], slots: int) -> None:
        """Report that the worker is ready: the first line."""
        plural = "" if slots == 1 else "s"
        self.say(f"worker {name} · broker {broker} · queues {', '.join(queues)} · {slots} slot{plural}")

    def started(self, held: HeldJob) -> None:
        """Report that a job has started."""
        if self.is_quiet:
            return  # Do not build a line for every job only to drop it.
        self.say(
            f"start {held.job_id} · {held.keys.queue} · {_command(held)}",
            has_clock=True,
            fields=_fields(held),
        )

    def stopping(self, held: HeldJob, cause: str) -> None:
        """Report that the processes of a job are being ended."""
        self.say(f"stop  {held.job_id} · {cause.replace('_', ' ')}", has_clock=True, fields=_fields(held, cause=cause))

    def ended(self, held: HeldJob, outcome: Outcome, seconds: float | None) -> None:
        """Report that a job has ended."""
        if outcome.survivors:
            survivors = ", ".join(map(str, outcome.survivors))
            self.warn(
                f"job {held.job_id}: still alive after SIGKILL: {survivors}", has_clock=True, fields=_fields(held)
            )
        if self.is_quiet:
            return
        took = "" if seconds is None else f" after {seconds:.2f} s"
        error = f" · {outcome.error}" if outcome.error else ""
        again = " · will be retried" if held.spec is not None and held.spec.begins_again(outcome) else ""
        self.say(
            f"end   {held.job_id} · {outcome.state} · {_how(outcome)}{took}{error}{again}",
            has_clock=True,
            fields=_fields(held, cause=outcome.cause),
        )

    def gone(self, held: HeldJob) -> None:
        """Report that the processes of a job that this worker no longer holds have ended."""
        self.say(
            f"gone  {held.job_id} · its processes have ended; another worker settles it",
            has_clock=True,
            fields=_fields(held),
        )


def _how(outcome: Outcome) -> str:
    if outcome.state is JobState.COMPLETED or outcome.cause is Cause.EXIT:
        return f"exit {outcome.exit_code}"
    if outcome.cause is Cause.SIGNAL:
        return f"signal {outcome.signal}"
    return outcome.cause.replace("_", " ")


def _command(held: HeldJob) -> str:
    if held.spec is None:
        return "(no readable command)"
    words = shlex.join(text_of(word) for word in held.spec.command)
    return words if len(words) <= MAX_COMMAND_CHARS else words[: MAX_COMMAND_CHARS - 1] + "…"


def _fields(held: HeldJob, **more: str) -> dict[str, str | int]:
    return {"job": held.job_id, "queue": held.keys.queue, "attempt": held.attempt, **more}
