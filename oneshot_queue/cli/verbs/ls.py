"""``ls`` and ``show``: what is known of jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url, pairs, whole_number
from oneshot_queue.cli.arguments.destination import broker_for, connected
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import Exit, UsageProblem
from oneshot_queue.cli.output.json import job_form
from oneshot_queue.cli.output.tables import Column, plain_columns, short_ids, table
from oneshot_queue.cli.output.terminal import coloured, is_terminal, put, say, width
from oneshot_queue.clock import SystemClock
from oneshot_queue.durations import brief_duration

if TYPE_CHECKING:
    from oneshot_queue.jobs import JobRecord
from oneshot_queue.cli.output.job_text import NONE, STATE_COLOURS, _command

MOST_JOBS: Final = 10_000
_STATES: Final = ("CREATED", "RUNNING", "IDLE", "INTERRUPTED", "COMPLETED", "FAILED")


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("ls", cls=Verb)(ls)


def ls(
    context: typer.Context,
    queue: Annotated[
        str | None, typer.Option("-q", "--queue", metavar="QUEUE", help="Only this queue.  [default: all]")
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option("-s", "--state", metavar="STATE", help="Only these states; several times.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="K=V", help="Only jobs with this label; several times.")
    ] = None,
    limit: Annotated[str, typer.Option("--limit", metavar="N", help="At most this many.")] = "50",
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """List jobs, newest change first.

    For example:

        oneshot-queue ls -s RUNNING -s IDLE
        oneshot-queue ls -q builds -l team=web --json
    """
    states = [_state(each) for each in state or []]
    labels = pairs("--label", label or [])
    most = whole_number("--limit", limit, least=1, most=MOST_JOBS)
    broker = broker_for(broker_url(context, url))
    with connected(broker, queue) as opened:
        jobs = opened.list(state=states, labels=labels, limit=most, everywhere=queue is None)
    records = [job.record for job in jobs if job.record is not None]
    if as_json:
        put(json.dumps([job_form(each) for each in records]))
    elif is_terminal(1):
        _print_table(records)
    else:
        for line in plain_columns([_cells(each, each.id) for each in records]):
            put(line)
    return Exit.DONE


def _state(written: str) -> str:
    if written.upper() not in _STATES:
        raise UsageProblem(f"--state: {written!r} must be one of {', '.join(_STATES)}")
    return written.upper()


def _print_table(records: list[JobRecord]) -> None:
    if not records:
        say("no jobs")
        return
    columns = [
        Column("ID"),
        Column("QUEUE", spare=3),
        Column("STATE"),
        Column("AGE", spare=4, is_right=True),
        Column("RAN", spare=2, is_right=True),
        Column("EXIT", spare=5),
        Column("NAME", spare=1),
        Column("COMMAND"),
    ]
    ids = short_ids([each.id for each in records])
    rows = [_cells(each, ids[each.id]) for each in records]
    # A column that says the same of every job says nothing.
    for title, nothing in (("QUEUE", {"default"}), ("NAME", {NONE})):
        position = [column.title for column in columns].index(title)
        if {row[position] for row in rows} <= nothing:
            del columns[position]
            for row in rows:
                del row[position]

    def paint(cell: str, title: str) -> str:
        if title == "":
            return coloured(cell, "dim")
        return coloured(cell, STATE_COLOURS[cell.strip().rstrip("!")]) if title == "STATE" else cell

    for line in table(columns, rows, width(), paint):
        put(line)


def _cells(record: JobRecord, shown_id: str) -> list[str]:
    now_ms = SystemClock().now_ms()
    spec = record.spec
    ran = NONE
    if record.started_ms is not None:
        ran = brief_duration(((record.ended_ms or now_ms) - record.started_ms) / 1000)
    return [
        shown_id,
        record.queue,
        str(record.state),
        brief_duration((now_ms - record.created_ms) / 1000),
        ran,
        _how(record),
        (spec.name if spec else None) or NONE,
        _command(record),
    ]


def _how(record: JobRecord) -> str:
    """In one word how a job ended, or what is going on with it."""
    if record.interrupting:
        return "ending"
    if not record.state.is_final:
        return NONE
    match str(record.cause):
        case "interrupted":
            return NONE  # the state says it
        case "exit":
            return str(record.exit_code)
        case "signal":
            return f"signal:{record.signal}"
        case cause:
            return cause
