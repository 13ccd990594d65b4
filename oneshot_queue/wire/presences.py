"""The bytes that cross Redis: one version byte, then msgpack, read with suspicion.

Whoever can write to Redis can write these bytes. Their size is checked before they are unpacked (1 MB of msgpack can
become 64 MB of objects), every length inside is limited, and what comes out must fit its schema exactly: a field that
is unknown, missing or of another kind makes the whole message malformed. Only a worker's sign of life may have fields
that are newer than its reader, or lack those that are newer than its writer: fleets are upgraded one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.wire.packing import is_a, list_of, pack, unpack

MAX_PRESENCE_BYTES: Final = 262_144


@dataclass(frozen=True, slots=True)
class WorkerPresence:
    """A worker's sign of life, as it publishes it every few seconds.

    Attributes:
        id: Unique for this process.
        queues: The queues it takes jobs from.
        concurrency: Most jobs it runs at once; 0 once it takes no more.
        running: Ids of the jobs it runs now.
        only_job: The one job it exists for, if it takes no other.
        supervisor: An id that all worker processes of one supervisor share; empty if it has none.
        process: Its number among the ``processes`` of that supervisor, from 1.
        layer: What ends its jobs when it is killed: ``cgroup`` or ``subreaper``; empty if nothing does.
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
        """Whether it takes jobs, or at least this one."""
        return self.concurrency > 0 and self.only_job in (None, job_id)


def pack_presence(presence: WorkerPresence) -> bytes:
    """Pack a worker's sign of life."""
    return pack({name: getattr(presence, name) for name in _PRESENCE_KINDS})


def unpack_presence(raw: bytes) -> WorkerPresence:
    """Read a worker's sign of life back. Of a newer worker, fields that are not known here are ignored.

    Raises:
        MalformedData: The bytes are none of this version.
    """
    fields = unpack("worker presence", raw, MAX_PRESENCE_BYTES)
    fields = {name: value for name, value in fields.items() if name in _PRESENCE_KINDS}
    if _PRESENCE_KINDS.keys() - _NEWER_PRESENCE - fields.keys():
        raise MalformedData("worker presence", f"has the fields {sorted(fields)}")
    for name, value in fields.items():
        if not _PRESENCE_KINDS[name](value):
            raise MalformedData("worker presence", f"field {name} is a {type(value).__name__}")
    fields["queues"], fields["running"] = tuple(fields["queues"]), tuple(fields["running"])
    return WorkerPresence(**fields)


_PRESENCE_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "id": is_a(str),
    "name": is_a(str),
    "host": is_a(str),
    "pid": is_a(int),
    "queues": list_of(str),
    "concurrency": is_a(int),
    "running": list_of(str),
    "started_ms": is_a(int),
    "seen_ms": is_a(int),
    "only_job": is_a(str, type(None)),
    "supervisor": is_a(str),
    "process": is_a(int),
    "processes": is_a(int),
    "layer": is_a(str),
}
_NEWER_PRESENCE: Final = frozenset({"supervisor", "process", "processes", "layer"})
"""What a worker of an older version does not say."""
