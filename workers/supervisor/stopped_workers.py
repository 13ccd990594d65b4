"""Finds worker processes that were stopped (SIGSTOP) and not continued: their jobs would run for ever.

If there are other workers, they have marked those jobs lost by then, and started the next attempts where asked to.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from oneshot_queue.workers.processes.procfs import status_of

PATIENCE_S: Final = 60.0
"""The least time that a person has to inspect a stopped worker."""

LEASES: Final = 2
"""Lease lengths after which the jobs are lost in any case."""

_LONGEST_STEP_S: Final = 2.0


class StoppedWorkers:
    """How long each worker has been stopped; a worker held by a debugger does not count."""

    def __init__(self, lease_s: float) -> None:
        self._patience_s = max(PATIENCE_S, LEASES * lease_s)
        self._stopped_s: dict[int, float] = {}
        self._checked_s = 0.0

    def check(self, workers: Collection[int], now_s: float) -> list[int]:
        """Check once; returns the workers whose time is up now, each once.

        Raises:
            OSError: They could not be inspected: no file descriptor is free.
        """
        # If the supervisor was stopped too, its workers get the time to be continued.
        step_s = min(now_s - self._checked_s, _LONGEST_STEP_S)
        self._checked_s = now_s
        before = self._stopped_s
        self._stopped_s = {pid: before.get(pid, 0.0) + step_s for pid in workers if _is_stopped(pid)}
        return [pid for pid, stopped_s in self._stopped_s.items() if stopped_s >= self._patience_s > stopped_s - step_s]


def _is_stopped(pid: int) -> bool:
    status = status_of(pid)
    return status is not None and status.state == "T"
