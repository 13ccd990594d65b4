"""The file in which commands testify that they ran, whatever Redis may say about it.

A line is ``job attempt token pid event``, written with one ``O_APPEND`` write, so that lines of many processes never
mix. ``start`` and ``end`` are the events of ``command``; a test's own commands may add others.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one process said once."""

    job_id: str
    attempt: int
    token: str
    pid: int
    event: str


class Witness:
    """Makes commands that testify, and reads what they said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def says(self, event: str) -> str:
        """A shell's words that testify to an event."""
        marks = '"$ONESHOT_JOB_ID" "$ONESHOT_ATTEMPT" "$ONESHOT_TOKEN" "$$"'
        return f"printf '%s %s %s %s {event}\\n' {marks} >> {shlex.quote(str(self.path))}"

    def command(self, script: str = ":") -> list[str]:
        """A command that testifies to its start, runs a shell's script, and testifies to its end."""
        return ["sh", "-c", f"{self.says('start')}\n{script}\n{self.says('end')}"]

    def heard(self) -> list[Testimony]:
        """Everything that was said so far; a line that is half written is not yet said."""
        found = []
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                job_id, attempt, token, pid, event = line.split()
                found.append(Testimony(job_id, int(attempt), token, int(pid), event))
        return found

    def of(self, event: str, job_id: str | None = None) -> list[Testimony]:
        """What was said of one event, by one job or by all."""
        return [each for each in self.heard() if each.event == event and job_id in (None, each.job_id)]

    def times(self, event: str) -> Counter[str]:
        """How often each job testified to an event."""
        return Counter(each.job_id for each in self.of(event))

    def until(self, event: str, job_id: str) -> Testimony:
        """Wait until a job has testified to an event."""
        what = f"job {job_id} to testify to {event!r} (all that was said: {self.path})"
        return wait_until(lambda: self.of(event, job_id), what=what)[0]

    def until_count(self, event: str, count: int) -> None:
        """Wait until an event was testified to so often, by whomever."""
        wait_until(lambda: len(self.of(event)), lambda seen: seen >= count, what=f"{count} times {event!r}")
