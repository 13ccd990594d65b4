"""Assigns dead workers to live ones until their jobs are recorded."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.backoff import retry_delay
from oneshot_queue.workers.ipc.messages import Recover
from oneshot_queue.workers.supervisor.child import Child
from oneshot_queue.workers.supervisor.worker_dirs import WorkerDir, take_over

MAX_OPEN: Final = 100
"""Most dead workers whose files are open at once; each needs two descriptors."""

MAX_SURVIVORS: Final = 10_000
"""Most survivors that are passed on for one dead worker: a message holds no more."""

FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 30.0


@dataclass(slots=True)
class _Pending:
    """A dead worker whose jobs are not recorded yet.

    Attributes:
        survivors: Ids of processes that could not be killed.
        assignee: The worker that recovers it now.
        declined: How often a worker has declined it.
        due_s: When it may be assigned, monotonic.
    """

    worker_dir: WorkerDir
    survivors: list[int]
    assignee: Child | None = None
    declined: int = 0
    due_s: float = 0.0


class RecoveryQueue:
    """The dead workers whose jobs are not recorded yet, and which live worker recovers each.

    Beyond the limit of open files, worker dirs are closed and unlocked. They are reopened as others are recovered,
    unless another supervisor takes them first.
    """

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self._closed: list[tuple[Path, list[int]]] = []
        # Most descriptors are reserved for live workers.
        self._limit = max(1, min(MAX_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))

    def add(self, worker_dir: WorkerDir, survivors: list[int]) -> None:
        """Add a dead worker whose processes have ended, except for the survivors."""
        del survivors[MAX_SURVIVORS:]
        if worker_dir.folder is None or len(self._pending) < self._limit:
            self._pending[worker_dir.worker_id] = _Pending(worker_dir, survivors)
        else:
            worker_dir.close()
            self._closed.append((worker_dir.folder, survivors))

    def reopen(self) -> None:
        """Open closed worker dirs while the limit allows; the next call retries those that cannot be opened."""
        while self._closed and len(self._pending) < self._limit:
            folder, survivors = self._closed[-1]
            try:
                worker_dir = take_over(folder)
            except OSError:
                return
            self._closed.pop()
            if worker_dir is not None:
                self._pending[worker_dir.worker_id] = _Pending(worker_dir, survivors)

    def unassign(self, assignee: Child) -> None:
        """Return the dead workers that this worker was recovering to the queue, because it died itself."""
        for pending in self._pending.values():
            if pending.assignee is assignee:
                pending.assignee = None

    def recovered(self, worker_id: str) -> None:
        """Remove a dead worker and its worker dir: all its jobs are recorded."""
        pending = self._pending.pop(worker_id, None)
        if pending is not None:
            pending.worker_dir.remove()

    def declined(self, worker_id: str, assignee: Child, now_s: float) -> None:
        """Assign a dead worker again after a delay, perhaps to another worker: the assignee has declined it."""
        pending = self._pending.get(worker_id)
        if pending is not None and pending.assignee is assignee:
            pending.assignee = None
            pending.declined += 1
            pending.due_s = now_s + retry_delay(
                pending.declined, base_s=FIRST_RETRY_S, cap_s=LONGEST_RETRY_S, spread=1.0
            )

    def assign(self, workers: Iterable[Child], now_s: float) -> None:
        """Assign each dead worker that is due to a worker that is registered with the broker, if there is one."""
        ready = [worker for worker in workers if worker.is_open]
        if not ready:
            return
        for worker_id, pending in self._pending.items():
            if pending.assignee is None and now_s >= pending.due_s:
                assignee = ready[pending.declined % len(ready)]
                worker_dir = pending.worker_dir
                folder = None if worker_dir.folder is None else str(worker_dir.folder)
                if assignee.channel.send(Recover(worker_id, folder, pending.survivors), [worker_dir.journal]):
                    pending.assignee = assignee

    def close(self) -> None:
        """Close and unlock the remaining worker dirs, so that the next supervisor recovers them."""
        for pending in self._pending.values():
            pending.worker_dir.close()
        self._pending.clear()
