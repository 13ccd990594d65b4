"""Finds worker processes that somebody has stopped (SIGSTOP) and does not let go on: their jobs would run for ever.

Where there are other workers, they have decided those jobs by then, and start them anew if so asked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from oneshot_queue.workers.processes.procfs import status_of

PATIENCE_S: Final = 60.0
"""What a person gets at least who looks at a worker that stands still."""

LEASES: Final = 2
"""Lengths of a lease after which the jobs are lost in any case."""

_LONGEST_STEP_S: Final = 2.0


class StoppedWorkers:
    """How long each worker has stood still; a debugger that holds one does not count."""

    def __init__(self, lease_s: float) -> None:
        self._patience_s = max(PATIENCE_S, LEASES * lease_s)
        self._still_s: dict[int, float] = {}
        self._looked_s = 0.0

    def look(self, workers: Collection[int], now_s: float) -> list[int]:
        """Look once; returns those whose time is up now, each once.

        Raises:
            OSError: They could not be looked at: no descriptor to spare.
        """
        # Who was stopped together with its workers lets them go on first.
        step_s = min(now_s - self._looked_s, _LONGEST_STEP_S)
        self._looked_s = now_s
        before = self._still_s
        self._still_s = {pid: before.get(pid, 0.0) + step_s for pid in workers if _stands_still(pid)}
        return [pid for pid, still_s in self._still_s.items() if still_s >= self._patience_s > still_s - step_s]


def _stands_still(pid: int) -> bool:
    status = status_of(pid)
    return status is not None and status.state == "T"
