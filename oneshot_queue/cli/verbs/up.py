"""``worker`` and ``up``: run jobs."""

from __future__ import annotations

from dataclasses import replace

import typer

from oneshot_queue.cli.arguments.common import broker_url
from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.arguments.worker import (
    Concurrency,
    DrainTimeout,
    Name,
    Processes,
    Queues,
    Quiet,
    checked_options,
    run_worker,
)
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import UsageProblem
from oneshot_queue.cli.output.terminal import print_message


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("up", cls=Verb)(up)


def up(
    context: typer.Context,
    queues: Queues = None,
    concurrency: Concurrency = None,
    processes: Processes = "1",
    name: Name = None,
    drain_timeout: DrainTimeout = "30s",
    quiet: Quiet = False,
) -> int:
    """Run the local broker, and a worker for it, in the foreground.

    When the worker ends, the broker and the jobs stay: `oneshot-queue broker stop` ends it.
    """
    from oneshot_queue.local_broker import ensure_running
    from oneshot_queue.settings import Settings

    if broker_url(context, None) is not None:
        raise UsageProblem("up is for the local broker; for another one: oneshot-queue --url URL worker")
    options = checked_options(queues, concurrency, processes, name, drain_timeout) | {"is_quiet": quiet}
    settings = Settings.from_env()
    found = ensure_running()
    if settings.url is not None:
        print_message("up uses the local broker, not the one that ONESHOT_QUEUE_URL names")
    if not quiet:
        print_message(f"local broker: {found.kind} {found.version} at {found.url}")
    return run_worker(Destination(replace(settings, url=found.url), is_local=True), options)
