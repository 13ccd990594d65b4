"""``enqueue`` and ``retry``: put a job into a queue and print its id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import is_terminal, put, say
from oneshot_queue.cli.waiting_notices import no_worker

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncJob, SyncQueue


def acknowledge(broker: Destination, queue: SyncQueue, job: SyncJob, *, as_json: bool = False) -> None:
    """Print the id of a job that was just accepted, and remember it as ``last``."""
    last_job.remember(broker, job.id, job.queue)
    put(json.dumps({"id": job.id, "created": job.created}) if as_json else job.id)
    if not job.created:
        say(f"job {job.id} was there already: {job.state}")
    elif is_terminal(2) and not any(each.may_take() for each in queue.workers(everywhere=False)):
        no_worker(broker, job.queue)
