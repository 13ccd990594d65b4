"""The place of one worker process: who holds it, and when the next one does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.supervisor.child import Child
from oneshot_queue.workers.supervisor.restart_backoff import RestartBackoff


@dataclass(slots=True, eq=False)
class Replica:
    """The place of one worker process, and who holds it.

    Attributes:
        options: What is asked of whoever comes next.
        due_s: When a replacement is to be started, monotonic; ``None`` while there is a worker, or never again.
        said: Why the last one gave up, as a person was told; empty if the last one had worked.
    """

    process: int
    options: WorkerOptions
    child: Child | None = None
    due_s: float | None = 0.0
    restarts: RestartBackoff = field(default_factory=RestartBackoff)
    said: str = ""

    def refill(self, dead: Child, exit_code: int, jobs_taken: int) -> str | None:
        """Set when somebody takes the place of a worker that has died; returns what to tell a person, if it is new."""
        how = f"signal {-exit_code}" if exit_code < 0 else f"exit {exit_code}"
        if self.options.max_jobs is not None:
            left = max(0, self.options.max_jobs - jobs_taken)
            self.options = replace(self.options, max_jobs=left)
            if left == 0:
                return f"worker {dead.name} died ({how}); it had no more jobs to take"
        delay_s = self.restarts.delay_s(dead.lived_s)
        self.due_s = time.monotonic() + delay_s
        before = "" if dead.is_open else self.said
        self.said = "" if dead.failure is None else dead.failure.text
        if dead.failure is None:
            return f"worker {dead.name} died ({how}); replacing it {f'in {delay_s:g} s' if delay_s else 'now'}"
        return None if self.said == before else f"worker {dead.name} gave up, and is tried again: {self.said}"
