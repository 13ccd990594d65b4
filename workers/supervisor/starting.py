"""Starts a worker process with a worker dir, a journal and, where possible, a control group."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.journal_format import MAX_CGROUP_BYTES
from oneshot_queue.workers.ipc.messages import Assignment
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.supervisor.child import Child
from oneshot_queue.workers.supervisor.leftovers import broker_fingerprint
from oneshot_queue.workers.supervisor.worker_dirs import new_worker_dir

SPARE_SLOTS: Final = 256


def start_child(
    options: WorkerOptions,
    *,
    process: int,
    processes: int,
    supervisor: str,
    workers_folder: Path | None,
    program: Sequence[str],
) -> Child:
    """Start a worker process.

    Args:
        process: Its number among ``processes``, from 1.
        supervisor: An id shared by all worker processes of one supervisor.
        workers_folder: Where the worker dirs are; ``None`` keeps the journal in memory only.

    Raises:
        OSError: It cannot be started now; its worker dir and control group are removed again.
    """
    worker_id = uuid.uuid4().hex
    worker_dir = new_worker_dir(workers_folder, worker_id)
    group = cgroup.make(worker_id)
    if group is not None and len(group.encode()) > MAX_CGROUP_BYTES:
        cgroup.remove(group)
        group = None
    try:
        journal = Journal.lay_out(
            worker_dir.journal,
            worker_id=worker_id,
            namespace=options.settings.namespace,
            broker=broker_fingerprint(options.url),
            cgroup=group or "",
            slots=4 * options.concurrency + SPARE_SLOTS,
            leases=len(options.queues),
        )
        assignment = Assignment(
            worker_id=worker_id,
            supervisor=supervisor,
            process=process,
            processes=processes,
            folder=None if worker_dir.folder is None else str(worker_dir.folder),
            cgroup=group,
            options=options,
        )
        return Child(assignment, worker_dir, journal, program)
    except OSError:
        if group is not None:
            cgroup.remove(group)
        worker_dir.remove()
        raise
