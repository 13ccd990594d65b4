"""The file in which commands testify that they ran, whatever Redis may say about it.

A line is ``job attempt token pid event uptime``, written with one ``O_APPEND`` write, so that lines of many processes
never mix, and their order is that in which they were written. ``start`` and ``end`` are the events of ``command``; a
test's own commands may add others.

A command that starts as a later attempt looks for processes of the earlier ones of its job, by the token in their
environment, and testifies to an ``overlap`` if one lives: an attempt that was killed leaves no ``end`` to go by.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one process said once.

    Attributes:
        at_s: Seconds since the machine was started, in steps of 10 ms.
    """

    job_id: str
    attempt: int
    token: str
    pid: int
    event: str
    at_s: float = 0.0


class Witness:
    """Makes commands that testify, and reads what they said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def says(self, event: str) -> str:
        """A shell's words that testify to an event."""
        marks = '"$ONESHOT_JOB_ID" "$ONESHOT_ATTEMPT" "$ONESHOT_TOKEN" "$$"'
        # A shell reads this file by itself: no process is started for the time.
        return (
            "{ read -r _uptime _ < /proc/uptime; "
            f"printf '%s %s %s %s {event} %s\\n' {marks} \"$_uptime\" >> {shlex.quote(str(self.path))}; }}"
        )

    def command(self, script: str = ":") -> list[str]:
        """A command that testifies to its start, runs a shell's script, and testifies to its end."""
        return ["sh", "-c", f"{self.says('start')}\n{self._looks_for_earlier()}\n{script}\n{self.says('end')}"]

    def _looks_for_earlier(self) -> str:
        return f"""\
if [ "$ONESHOT_ATTEMPT" -gt 1 ]; then
while read -r _job _attempt _token _pid _event _; do
if [ "$_job:$_event" = "$ONESHOT_JOB_ID:start" ] && [ "$_token" != "$ONESHOT_TOKEN" ]; then
case "$(tr '\\0' ' ' < "/proc/$_pid/environ")" in *"ONESHOT_TOKEN=$_token"*) {self.says("overlap")};; esac
fi
done < {shlex.quote(str(self.path))}
fi 2> /dev/null"""

    def heard(self) -> list[Testimony]:
        """Everything that was said so far; a line that is half written is not yet said."""
        found = []
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                job_id, attempt, token, pid, event, uptime = line.split()
                found.append(Testimony(job_id, int(attempt), token, int(pid), event, float(uptime)))
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
