"""Hands what dead workers left to live ones, until it is decided."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.backoff import retry_delay
from oneshot_queue.workers.ipc.messages import Recover
from oneshot_queue.workers.supervisor.child import Child
from oneshot_queue.workers.supervisor.worker_dirs import WorkerDir, taken_over

MAX_OPEN: Final = 100
"""Estates whose files are open at once, where there are descriptors enough; each costs two."""

MAX_NAMED: Final = 10_000
"""Survivors that are handed on: what a message holds."""

FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
"""How long what no worker took waits for the next try, at first and at last."""


@dataclass(slots=True)
class _Pending:
    """An estate that is not decided yet.

    Attributes:
        survivors: The process ids of what could not be ended.
        declined: How often a worker did not take it.
        due_s: When it may be given to a worker, monotonic.
    """

    worker_dir: WorkerDir
    survivors: list[int]
    crash_recovery: Child | None = None
    declined: int = 0
    due_s: float = 0.0


class RecoveryQueue:
    """The estates that are not decided yet, and which worker decides each of them.

    Those that are too many lie in their folders, unlocked, until others are decided; another supervisor may take them.
    """

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self._lying: list[tuple[Path, list[int]]] = []
        # Most descriptors are for living workers.
        self._room = max(1, min(MAX_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))

    def add(self, worker_dir: WorkerDir, survivors: list[int]) -> None:
        """A worker is dead, of its processes nothing is left but these, and its jobs have to be decided."""
        del survivors[MAX_NAMED:]
        if worker_dir.folder is None or len(self._pending) < self._room:
            self._pending[worker_dir.worker_id] = _Pending(worker_dir, survivors)
        else:
            worker_dir.close()
            self._lying.append((worker_dir.folder, survivors))

    def take_up(self) -> None:
        """Open the estates that lie, as far as there is room; what cannot be opened now may be with the next call."""
        while self._lying and len(self._pending) < self._room:
            folder, survivors = self._lying[-1]
            try:
                worker_dir = taken_over(folder)
            except OSError:
                return
            self._lying.pop()
            if worker_dir is not None:
                self._pending[worker_dir.worker_id] = _Pending(worker_dir, survivors)

    def lost(self, crash_recovery: Child) -> None:
        """A worker has died: what it was to decide goes to the next one."""
        for pending in self._pending.values():
            if pending.crash_recovery is crash_recovery:
                pending.crash_recovery = None

    def decided(self, worker_id: str) -> None:
        """An estate is decided; nothing of it is needed any more."""
        pending = self._pending.pop(worker_id, None)
        if pending is not None:
            pending.worker_dir.remove()

    def declined(self, worker_id: str, crash_recovery: Child, now_s: float) -> None:
        """A worker has not taken an estate: another one may, after a while."""
        pending = self._pending.get(worker_id)
        if pending is not None and pending.crash_recovery is crash_recovery:
            pending.crash_recovery = None
            pending.declined += 1
            pending.due_s = now_s + retry_delay(pending.declined, base_s=FIRST_S, cap_s=LONGEST_S, spread=1.0)

    def hand_out(self, workers: Iterable[Child], now_s: float) -> None:
        """Give each estate that has no heir to a worker that is registered with the broker, if there is one."""
        recovery_queue = [worker for worker in workers if worker.is_open]
        if not recovery_queue:
            return
        for worker_id, pending in self._pending.items():
            if pending.crash_recovery is None and now_s >= pending.due_s:
                crash_recovery = recovery_queue[pending.declined % len(recovery_queue)]
                worker_dir = pending.worker_dir
                folder = None if worker_dir.folder is None else str(worker_dir.folder)
                if crash_recovery.channel.send(Recover(worker_id, folder, pending.survivors), [worker_dir.notes]):
                    pending.crash_recovery = crash_recovery

    def close(self) -> None:
        """Leave what is not decided to the next supervisor."""
        for pending in self._pending.values():
            pending.worker_dir.close()
        self._pending.clear()
