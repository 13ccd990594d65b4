"""Finds worker processes that were stopped (SIGSTOP) and not continued: their jobs would run for ever.

By the time a stopped worker is reported here, other workers of its queues have marked its jobs lost.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from oneshot_queue.workers.processes.procfs import status_of

PATIENCE_S: Final = 60.0
"""Shortest time for which a worker may stay stopped, so that a person can inspect it."""

LEASES: Final = 2
"""Lease lengths after which any other worker has marked the jobs lost."""

_LONGEST_STEP_S: Final = 2.0


class StoppedWorkers:
    """Tracks how long each worker has been stopped; one that a debugger holds does not count as stopped."""

    def __init__(self, lease_s: float) -> None:
        self._patience_s = max(PATIENCE_S, LEASES * lease_s)
        self._stopped_s: dict[int, float] = {}
        self._checked_s = 0.0

    def check(self, workers: Collection[int], now_s: float) -> list[int]:
        """Check once; returns the workers that have just been stopped for too long, each of them only once.

        Raises:
            OSError: They could not be inspected: no file descriptor is free.
        """
        # If the supervisor was stopped too, that time does not count: its workers may be continued just after it.
        step_s = min(now_s - self._checked_s, _LONGEST_STEP_S)
        self._checked_s = now_s
        before = self._stopped_s
        self._stopped_s = {pid: before.get(pid, 0.0) + step_s for pid in workers if _is_stopped(pid)}
        return [pid for pid, stopped_s in self._stopped_s.items() if stopped_s >= self._patience_s > stopped_s - step_s]


def _is_stopped(pid: int) -> bool:
    status = status_of(pid)
    return status is not None and status.state == "T"
