"""``broker``: show, start and stop this user's local broker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from oneshot_queue.cli.commands import Verb, VerbGroup
from oneshot_queue.cli.exit_codes import ExitCode
from oneshot_queue.cli.output.terminal import print_line, print_message

if TYPE_CHECKING:
    from oneshot_queue.local_broker import LocalBroker


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    broker = typer.Typer(
        cls=VerbGroup,
        rich_markup_mode=None,
        subcommand_metavar="VERB",
        help="Show, start and stop your local broker. Commands that need it start it on demand.",
    )
    for verb in (status, start, stop):
        broker.command(cls=Verb)(verb)
    app.add_typer(broker, name="broker")


def status() -> int:
    """Show the local broker.

    Exit code: 0 if it is running, 5 if not.
    """
    from oneshot_queue import local_broker
    from oneshot_queue.urls import shown_url

    if url := os.environ.get("ONESHOT_QUEUE_URL"):
        print_message(f"other commands use {shown_url(url)} (ONESHOT_QUEUE_URL), not the local broker")
    running = local_broker.status()
    if running is None:
        print_message("the local broker is not running; commands that need it start it")
        return ExitCode.BROKER_ERROR
    _describe(running)
    return ExitCode.SUCCESS


def start() -> int:
    """Start the local broker, unless it is already running."""
    from oneshot_queue.local_broker import ensure_running

    _describe(ensure_running())
    return ExitCode.SUCCESS


def stop() -> int:
    """Stop the local broker; its jobs are kept, including waiting ones."""
    from oneshot_queue import local_broker

    running = local_broker.status()
    if not local_broker.stop():
        print_message("the local broker was not running")
    elif running is not None and not running.persistent:
        print_message("the local broker was stopped; its jobs were only in memory and are lost")
    else:
        print_message("the local broker was stopped; its jobs are kept")
    return ExitCode.SUCCESS


def _describe(broker: LocalBroker) -> None:
    print_line(f"url      {broker.url}")
    print_line(f"server   {broker.kind} {broker.version}, pid {broker.pid}")
    print_line(f"folder   {broker.folder}")
    print_line(f"data     {'on disk' if broker.persistent else 'in memory only; lost when it stops'}")
