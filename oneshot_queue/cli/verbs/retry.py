"""``enqueue`` and ``retry``: put a job into a queue and print its id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import InQueue, JobId, Url, broker_url
from oneshot_queue.cli.arguments.destination import broker_for, connected
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import Exit

if TYPE_CHECKING:
    pass
from oneshot_queue.cli.acknowledgement import acknowledge


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("retry", cls=Verb)(retry)


def retry(context: typer.Context, job_id: JobId, queue: InQueue = None, url: Url = None) -> int:
    """Enqueue a job once more, as a new one, and print its id.

    For example:

        oneshot-queue retry last
    """
    broker = broker_for(broker_url(context, url))
    with connected(broker, queue) as opened:
        earlier = last_job.named(opened, broker, job_id, queue)
        with connected(broker, earlier.queue) as home:
            acknowledge(broker, home, home.retry(earlier.id))
    return Exit.DONE
