"""``broker``: this user's own local broker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from oneshot_queue.cli.commands import Verb, VerbGroup
from oneshot_queue.cli.exit_codes import Exit
from oneshot_queue.cli.output.terminal import put, say

if TYPE_CHECKING:
    from oneshot_queue.local_broker import LocalBroker


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    broker = typer.Typer(
        cls=VerbGroup,
        rich_markup_mode=None,
        subcommand_metavar="VERB",
        help="See, start and stop your own local broker. Verbs that need it start it by themselves.",
    )
    for verb in (status, start, stop):
        broker.command(cls=Verb)(verb)
    app.add_typer(broker, name="broker")


def status() -> int:
    """Say whether it runs, and where; exit code 5 if it does not."""
    from oneshot_queue.local_broker import status as look
    from oneshot_queue.urls import shown_url

    if url := os.environ.get("ONESHOT_QUEUE_URL"):
        say(f"note: this is about the local broker; ONESHOT_QUEUE_URL lets the other verbs use {shown_url(url)}")
    found = look()
    if found is None:
        say("the local broker does not run; a verb that needs it starts it")
        return Exit.BROKER
    _describe(found)
    return Exit.DONE


def start() -> int:
    """Start it, unless it runs."""
    from oneshot_queue.local_broker import ensure_running

    _describe(ensure_running())
    return Exit.DONE


def stop() -> int:
    """Stop it; its jobs are kept, and so are those that wait."""
    from oneshot_queue.local_broker import status as look
    from oneshot_queue.local_broker import stop as end

    found = look()
    if not end():
        say("the local broker did not run")
    elif found is not None and not found.persistent:
        say("the local broker was stopped; it kept its jobs in memory only, and they are gone")
    else:
        say("the local broker was stopped; its jobs are kept")
    return Exit.DONE


def _describe(broker: LocalBroker) -> None:
    put(f"url      {broker.url}")
    put(f"server   {broker.kind} {broker.version}, process {broker.pid}")
    put(f"folder   {broker.folder}")
    put(f"data     {'kept on disk' if broker.persistent else 'in memory only: lost when it ends'}")
