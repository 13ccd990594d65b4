"""What supervisors before this one left on this machine: processes that survived them, and jobs to be decided."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from oneshot_queue.errors import MalformedData
from oneshot_queue.local_broker import is_local_broker
from oneshot_queue.workers.ipc.journal_format import Snapshot, boot_id, max_bytes, read_journal
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.supervisor.survivors import end_survivors
from oneshot_queue.workers.supervisor.worker_dirs import WorkerDir, abandoned


def take_over_leftovers(workers_folder: Path, options: WorkerOptions) -> Iterator[tuple[WorkerDir, list[int]]]:
    """End what survived dead workers of this user, and give back those whose jobs these workers can decide.

    With each comes what of its processes could not be ended. A worker of another broker left nothing that could be
    decided here; it waits for a worker of its own.

    Raises:
        OSError: There is no descriptor to spare; what was not looked at is left as it is.
    """
    for worker_dir in abandoned(workers_folder):
        try:
            found = _read(worker_dir.notes)
        except (MalformedData, OSError):
            found = None
        if found is None or found.worker_id != worker_dir.worker_id:
            # It says nothing, so nothing can be done about it; ends of jobs that may lie there are kept.
            worker_dir.close() if worker_dir.has_spool else worker_dir.remove()
            continue
        survivors = _end_processes(found) if found.boot_id == boot_id() else []
        if not (found.slots or found.leases or worker_dir.has_spool):
            worker_dir.remove()
        elif (found.broker, found.namespace) == (broker_fingerprint(options.url), options.settings.namespace):
            yield worker_dir, survivors
        else:
            worker_dir.close()


def broker_fingerprint(url: str) -> str:
    """Tells one broker from another without its address, whoever logs in and with whatever password."""
    scheme, separator, rest = url.partition("://")
    place, _, query = rest.rpartition("@")[2].partition("?")
    kept = [word for word in query.split("&") if not word.lower().startswith(("password=", "username="))]
    return hashlib.sha256(f"{scheme}{separator}{place}?{'&'.join(kept)}".encode()).hexdigest()


def _read(file: int) -> Snapshot:
    size = os.fstat(file).st_size
    if size > max_bytes():
        raise MalformedData("notes", f"have {size} bytes")
    return read_journal(os.pread(file, size, 0))


def _end_processes(found: Snapshot) -> list[int]:
    if not found.cgroup or not cgroup.is_group_of(found.cgroup, found.worker_id):
        return end_survivors(found.slots)
    cgroup.end(found.cgroup, is_local_broker)
    survivors = end_survivors(found.slots, cgroup.members(found.cgroup))
    cgroup.remove(found.cgroup)
    return survivors
