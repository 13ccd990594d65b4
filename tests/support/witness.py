"""The witness file: commands report to it that they ran, independently of Redis.

A line is ``job attempt token pid event uptime``, written with one ``O_APPEND`` write. So lines of several processes
never mix, and their order is the order of writing. ``command`` reports ``start`` and ``end``; the scripts of a test may
report other events.

An attempt that was killed reports no ``end``. So each later attempt of a job looks for processes of earlier ones, by
the token in their environment, and reports an ``overlap`` if one is alive.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import wait_until


@dataclass(frozen=True, slots=True)
class WitnessEvent:
    """One line of the witness file.

    Attributes:
        at_s: Seconds since the machine was started, with a resolution of 10 ms.
    """

    job_id: str
    attempt: int
    token: str
    pid: int
    event: str
    at_s: float = 0.0


class Witness:
    """Builds commands that report to the witness file, and reads the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def report(self, event: str) -> str:
        """Shell code that reports an event."""
        variables = '"$ONESHOT_JOB_ID" "$ONESHOT_ATTEMPT" "$ONESHOT_TOKEN" "$$"'
        # The shell reads the uptime itself: this starts no process.
        return (
            "{ read -r _uptime _ < /proc/uptime; "
            f"printf '%s %s %s %s {event} %s\\n' {variables} \"$_uptime\" >> {shlex.quote(str(self.path))}; }}"
        )

    def command(self, script: str = ":") -> list[str]:
        """A command that reports its start, runs a shell script, and reports its end."""
        return ["sh", "-c", f"{self.report('start')}\n{self._report_overlap()}\n{script}\n{self.report('end')}"]

    def _report_overlap(self) -> str:
        return f"""\
if [ "$ONESHOT_ATTEMPT" -gt 1 ]; then
while read -r _job _attempt _token _pid _event _; do
if [ "$_job:$_event" = "$ONESHOT_JOB_ID:start" ] && [ "$_token" != "$ONESHOT_TOKEN" ]; then
case "$(tr '\\0' ' ' < "/proc/$_pid/environ")" in *"ONESHOT_TOKEN=$_token"*) {self.report("overlap")};; esac
fi
done < {shlex.quote(str(self.path))}
fi 2> /dev/null"""

    def events(self) -> list[WitnessEvent]:
        """All events so far; a line without its newline is ignored."""
        found = []
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                job_id, attempt, token, pid, event, uptime = line.split()
                found.append(WitnessEvent(job_id, int(attempt), token, int(pid), event, float(uptime)))
        return found

    def of(self, event: str, job_id: str | None = None) -> list[WitnessEvent]:
        """The events of one kind, of one job or of all."""
        return [each for each in self.events() if each.event == event and job_id in (None, each.job_id)]

    def times(self, event: str) -> Counter[str]:
        """Number of times each job reported an event."""
        return Counter(each.job_id for each in self.of(event))

    def until(self, event: str, job_id: str) -> WitnessEvent:
        """Wait until a job has reported an event; returns the first one."""
        what = f"job {job_id} to report {event!r} (all events: {self.path})"
        return wait_until(lambda: self.of(event, job_id), what=what)[0]

    def until_count(self, event: str, count: int) -> None:
        """Wait until an event was reported at least ``count`` times, by any jobs."""
        wait_until(lambda: len(self.of(event)), lambda seen: seen >= count, what=f"{count} reports of {event!r}")
