"""``queues``: count the jobs of every queue by state."""

from __future__ import annotations

import json
from typing import Final

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode
from oneshot_queue.cli.output.escape import escaped
from oneshot_queue.cli.output.json import queue_json
from oneshot_queue.cli.output.listing import print_listing
from oneshot_queue.cli.output.tables import Column
from oneshot_queue.cli.output.terminal import print_line

_STATE_COLUMNS: Final = {"CREATED": 6, "RUNNING": 5, "IDLE": 4, "INTERRUPTED": 1, "COMPLETED": 2, "FAILED": 3}
"""States, and the rank in which a narrow terminal drops their columns."""


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("queues", cls=Verb)(queues)


def queues(context: typer.Context, as_json: AsJson = False, url: Url = None) -> int:
    """Count the jobs of every queue by state."""
    with open_queue(destination_for(broker_url(context, url))) as opened:
        found = opened.queues()
    if as_json:
        print_line(json.dumps([queue_json(each) for each in found]))
        return ExitCode.SUCCESS
    columns = [Column("READY", is_right=True), Column("DELAYED", spare=7, is_right=True)]
    columns += [Column(title, spare, is_right=True) for title, spare in _STATE_COLUMNS.items()]
    rows = [
        [str(each.ready), str(each.delayed), *(str(each.states[s]) for s in each.states), escaped(each.queue)]
        for each in found
    ]
    print_listing([*columns, Column("QUEUE")], rows, "no queues; enqueue a job with: oneshot-queue enqueue COMMAND")
    return ExitCode.SUCCESS
