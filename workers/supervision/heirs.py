"""Hands what dead workers left to live ones, until it is decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from workers.control import Inherit
from workers.supervision.child import Child
from workers.supervision.incarnations import Incarnation


@dataclass(slots=True)
class _Pending:
    incarnation: Incarnation
    heir: Child | None = None


class Heirs:
    """The estates that are not decided yet, and which worker decides each of them."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}

    def add(self, incarnation: Incarnation) -> None:
        """A worker is dead, nothing of its processes is left, and its jobs have to be decided."""
        self._pending[incarnation.worker_id] = _Pending(incarnation)

    def lost(self, heir: Child) -> None:
        """A worker has died: what it was to decide goes to the next one."""
        for pending in self._pending.values():
            if pending.heir is heir:
                pending.heir = None

    def decided(self, worker_id: str) -> None:
        """An estate is decided; nothing of it is needed any more."""
        pending = self._pending.pop(worker_id, None)
        if pending is not None:
            pending.incarnation.remove()

    def hand_out(self, workers: Iterable[Child]) -> None:
        """Give each estate that has no heir to a worker that is registered with the broker, if there is one."""
        heir = next((worker for worker in workers if worker.is_open), None)
        if heir is None:
            return
        for worker_id, pending in self._pending.items():
            if pending.heir is None:
                incarnation = pending.incarnation
                folder = None if incarnation.folder is None else str(incarnation.folder)
                if heir.channel.send(Inherit(worker_id, folder), [incarnation.notes]):
                    pending.heir = heir

    def close(self) -> None:
        """Leave what is not decided to the next supervisor."""
        for pending in self._pending.values():
            pending.incarnation.close()
        self._pending.clear()
