"""One worker of a supervisor: its current process, and when that is replaced."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.supervisor.child import Child
from oneshot_queue.workers.supervisor.restart_backoff import RestartBackoff


@dataclass(slots=True, eq=False)
class Replica:
    """One worker of a supervisor, across the processes that replace each other.

    Attributes:
        process: Its number, from 1.
        options: The options of the next process to be started.
        child: The current process.
        due_s: When to start the next process, monotonic; ``None`` while there is one, or if there will be none.
        last_failure: The reason that the last process gave for giving up; empty if it gave none.
    """

    process: int
    options: WorkerOptions
    child: Child | None = None
    due_s: float | None = 0.0
    restarts: RestartBackoff = field(default_factory=RestartBackoff)
    last_failure: str = ""

    def schedule_replacement(self, dead: Child, exit_code: int, jobs_taken: int) -> str | None:
        """Set when to replace a dead process; returns a line to report, or ``None`` if it was reported before."""
        how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        if self.options.max_jobs is not None:
            left = max(0, self.options.max_jobs - jobs_taken)
            self.options = replace(self.options, max_jobs=left)
            if left == 0:
                return f"worker {dead.name} died ({how}); not replacing it: --max-jobs is reached"
        delay_s = self.restarts.delay_s(dead.lived_s)
        self.due_s = time.monotonic() + delay_s
        before = "" if dead.is_open else self.last_failure
        self.last_failure = "" if dead.failure is None else dead.failure.text
        if dead.failure is None:
            return f"worker {dead.name} died ({how}); replacing it {f'in {delay_s:g} s' if delay_s else 'now'}"
        return None if self.last_failure == before else f"worker {dead.name} failed, retrying: {self.last_failure}"
