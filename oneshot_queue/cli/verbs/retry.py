"""``retry``: enqueue a copy of a job and print its id."""

from __future__ import annotations

import typer

from oneshot_queue.cli.acknowledgement import acknowledge
from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import InQueue, JobId, Url, broker_url
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("retry", cls=Verb)(retry)


def retry(context: typer.Context, job_id: JobId, queue: InQueue = None, url: Url = None) -> int:
    """Enqueue a new job with the same spec, and print its id.

    For example:

        oneshot-queue retry last
    """
    destination = destination_for(broker_url(context, url))
    with open_queue(destination, queue) as opened:
        earlier = last_job.find_job(opened, destination, job_id, queue)
        with open_queue(destination, earlier.queue) as home:
            acknowledge(destination, home, home.retry(earlier.id))
    return ExitCode.SUCCESS
