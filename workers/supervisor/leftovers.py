"""Takes over what dead supervisors left on this machine: running processes, and jobs without a recorded result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from oneshot_queue.errors import MalformedData
from oneshot_queue.local_broker import is_local_broker
from oneshot_queue.workers.ipc.journal_format import Snapshot, boot_id, read_journal_file
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.supervisor.survivors import end_survivors
from oneshot_queue.workers.supervisor.worker_dirs import WorkerDir, abandoned


def take_over_leftovers(workers_folder: Path, options: WorkerOptions) -> Iterator[tuple[WorkerDir, list[int]]]:
    """End the processes that this user's dead workers left, and yield the worker dirs that need recovery.

    Each worker dir is yielded with the ids of processes that could not be killed. A worker dir of another broker or
    namespace is not yielded: a worker of that broker recovers it.

    Raises:
        OSError: No file descriptor is free; the remaining worker dirs are left as they are.
    """
    for worker_dir in abandoned(workers_folder):
        try:
            found = read_journal_file(worker_dir.journal)
        except (MalformedData, OSError):
            found = None
        if found is None or found.worker_id != worker_dir.worker_id:
            # Without a valid journal there is nothing to recover here; results in a spool are kept.
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
    """Identify a broker without revealing its URL; the user name and password are left out."""
    scheme, separator, rest = url.partition("://")
    address, _, query = rest.rpartition("@")[2].partition("?")
    parameters = [pair for pair in query.split("&") if not pair.lower().startswith(("password=", "username="))]
    return hashlib.sha256(f"{scheme}{separator}{address}?{'&'.join(parameters)}".encode()).hexdigest()


def _end_processes(found: Snapshot) -> list[int]:
    if not found.cgroup or not cgroup.is_group_of(found.cgroup, found.worker_id):
        return end_survivors(found.slots)
    cgroup.kill(found.cgroup, is_local_broker)
    survivors = end_survivors(found.slots, cgroup.members(found.cgroup))
    cgroup.remove(found.cgroup)
    return survivors
