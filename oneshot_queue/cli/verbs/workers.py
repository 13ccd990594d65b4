"""``workers``: list live workers and how many jobs each runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode
from oneshot_queue.cli.output.escape import escaped
from oneshot_queue.cli.output.json import worker_json
from oneshot_queue.cli.output.listing import print_listing
from oneshot_queue.cli.output.tables import Column
from oneshot_queue.cli.output.terminal import is_terminal, print_line
from oneshot_queue.clock import SystemClock
from oneshot_queue.durations import brief_duration

if TYPE_CHECKING:
    from oneshot_queue.wire.presences import WorkerPresence


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("workers", cls=Verb)(workers)


def workers(context: typer.Context, as_json: AsJson = False, url: Url = None) -> int:
    """List live workers and how many jobs each runs.

    Worker processes of one supervisor are listed together.
    """
    with open_queue(destination_for(broker_url(context, url))) as opened:
        found = sorted(opened.workers(), key=lambda each: (each.host, each.supervisor, each.process, each.name))
    if as_json:
        print_line(json.dumps([worker_json(each) for each in found]))
        return ExitCode.SUCCESS
    now_ms = SystemClock().now_ms()
    names = _grouped_names(found) if is_terminal(1) else [each.name for each in found]
    rows = [
        [
            escaped(name),
            f"{len(each.running)}/{each.concurrency or 'draining'}",
            brief_duration((now_ms - each.started_ms) / 1000),
            brief_duration((now_ms - each.seen_ms) / 1000),
            f"{escaped(each.host)}:{each.pid}",
            escaped(",".join(each.queues)),
        ]
        for name, each in zip(names, found, strict=True)
    ]
    columns = [
        Column("NAME"),
        Column("BUSY", is_right=True),
        Column("UP", spare=2, is_right=True),
        Column("SEEN", spare=3, is_right=True),
        Column("HOST:PID", spare=1),
        Column("QUEUES"),
    ]
    print_listing(columns, rows, "no live workers; start one with: oneshot-queue worker")
    return ExitCode.SUCCESS


def _grouped_names(found: Sequence[WorkerPresence]) -> list[str]:
    """The workers' names, with lines that join the processes of one supervisor."""
    groups = [each.supervisor or each.id for each in found]
    names = []
    for before, own, each, after in zip([None, *groups], groups, found, [*groups[1:], None], strict=False):
        is_first, is_last = before != own, after != own
        line = "" if is_first and is_last else "┌ " if is_first else "└ " if is_last else "├ "
        names.append(line + each.name)
    return names
