"""``up``: run the local broker and a worker."""

from __future__ import annotations

from dataclasses import replace

import typer

from oneshot_queue.cli.arguments.common import broker_url
from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.arguments.worker import (
    Concurrency,
    DrainTimeout,
    LogFormatOption,
    LogLevelOption,
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
    log_format: LogFormatOption = "text",
    log_level: LogLevelOption = "warning",
) -> int:
    """Run the local broker and a worker for it in the foreground.

    The broker and its jobs stay when the worker exits; stop them with `oneshot-queue broker stop`.
    """
    from oneshot_queue.local_broker import ensure_running
    from oneshot_queue.settings import Settings
    from oneshot_queue.telemetry.logging import configure, report

    if broker_url(context, None) is not None:
        raise UsageProblem("up runs the local broker; for another broker use: oneshot-queue --url URL worker")
    options = checked_options(
        queues,
        concurrency,
        processes,
        name,
        drain_timeout,
        quiet=quiet,
        log_format=log_format,
        log_level=log_level,
    )
    configure(log_format, log_level)
    notify = report if log_format == "json" else print_message
    settings = Settings.from_env()
    found = ensure_running()
    if settings.url is not None:
        notify("up uses the local broker and ignores ONESHOT_QUEUE_URL")
    if not quiet:
        notify(f"local broker: {found.kind} {found.version} at {found.url}")
    return run_worker(Destination(replace(settings, url=found.url), is_local=True), options)
