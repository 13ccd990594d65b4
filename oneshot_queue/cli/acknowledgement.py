"""What ``enqueue`` and ``retry`` print for a job that was just accepted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import is_terminal, print_line, print_message
from oneshot_queue.cli.waiting_notices import print_no_worker_notice

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncJob, SyncQueue


def acknowledge(destination: Destination, queue: SyncQueue, job: SyncJob, *, as_json: bool = False) -> None:
    """Print the id of an accepted job, and remember it as ``last``."""
    last_job.remember(destination, job.id, job.queue)
    print_line(json.dumps({"id": job.id, "created": job.created}) if as_json else job.id)
    if not job.created:
        print_message(f"job {job.id} already exists: {job.state}")
    elif is_terminal(2) and not any(each.may_take() for each in queue.workers(everywhere=False)):
        print_no_worker_notice(destination, job.queue)
