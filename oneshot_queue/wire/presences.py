"""How a worker's sign of life is stored: a map of all fields of ``WorkerPresence``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.wire.packing import fits, pack, unpack

MAX_PRESENCE_BYTES: Final = 262_144


@dataclass(frozen=True, slots=True)
class WorkerPresence:
    """A worker's sign of life, which it publishes every few seconds.

    Attributes:
        id: Unique for this process.
        queues: The queues that it takes jobs from.
        concurrency: How many jobs it runs at most; 0 when it accepts no more jobs.
        running: Ids of the jobs that it runs now.
        started_ms: When it started, in ms since 1970.
        seen_ms: When it published this, in ms since 1970.
        only_job: The id of the one job that it accepts; ``None`` if it accepts any.
        supervisor: An id that all worker processes of one supervisor share; empty without a supervisor.
        process: Its number among the ``processes`` of its supervisor; the first is 1.
        layer: What terminates its jobs when it is killed: ``cgroup`` or ``subreaper``; empty if nothing does.
    """

    id: str
    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    running: tuple[str, ...]
    started_ms: int
    seen_ms: int
    only_job: str | None = None
    supervisor: str = ""
    process: int = 1
    processes: int = 1
    layer: str = ""

    def may_take(self, job_id: str | None = None) -> bool:
        """Whether it accepts jobs; with an id, whether it accepts this one."""
        return self.concurrency > 0 and self.only_job in (None, job_id)


def pack_presence(presence: WorkerPresence) -> bytes:
    """Pack a worker's sign of life."""
    return pack({name: getattr(presence, name) for name in _FITS})


def unpack_presence(raw: bytes) -> WorkerPresence:
    """Unpack a worker's sign of life. Unknown fields, which newer workers may publish, are ignored.

    Raises:
        MalformedData: The bytes are not a presence of this version, or a field is missing or has the wrong type.
    """
    fields = unpack("worker presence", raw, MAX_PRESENCE_BYTES)
    fields = {name: value for name, value in fields.items() if name in _FITS}
    if missing := _FITS.keys() - _NEWER - fields.keys():
        raise MalformedData("worker presence", f"lacks the fields {sorted(missing)}")
    for name, value in fields.items():
        if not _FITS[name](value):
            raise MalformedData("worker presence", f"field {name} has the wrong type {type(value).__name__}")
    fields["queues"], fields["running"] = tuple(fields["queues"]), tuple(fields["running"])
    return WorkerPresence(**fields)


_FITS: Final = {
    "id": fits(str),
    "name": fits(str),
    "host": fits(str),
    "pid": fits(int),
    "queues": fits(list[str]),
    "concurrency": fits(int),
    "running": fits(list[str]),
    "started_ms": fits(int),
    "seen_ms": fits(int),
    "only_job": fits(str | None),
    "supervisor": fits(str),
    "process": fits(int),
    "processes": fits(int),
    "layer": fits(str),
}
_NEWER: Final = frozenset({"supervisor", "process", "processes", "layer"})
"""Fields that workers of older versions do not publish."""
