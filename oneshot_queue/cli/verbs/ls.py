"""``ls``: list jobs, most recently changed first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url, pairs, whole_number
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode, UsageProblem
from oneshot_queue.cli.output.job_text import NO_VALUE, STATE_COLOURS, command_text
from oneshot_queue.cli.output.json import job_json
from oneshot_queue.cli.output.tables import Column, plain_columns, short_ids, table
from oneshot_queue.cli.output.terminal import coloured, is_terminal, print_line, print_message, width
from oneshot_queue.clock import SystemClock
from oneshot_queue.durations import brief_duration

if TYPE_CHECKING:
    from oneshot_queue.jobs import JobRecord

MAX_JOBS: Final = 10_000
_STATES: Final = ("CREATED", "RUNNING", "IDLE", "INTERRUPTED", "COMPLETED", "FAILED")


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("ls", cls=Verb)(ls)


def ls(
    context: typer.Context,
    queue: Annotated[
        str | None, typer.Option("-q", "--queue", metavar="QUEUE", help="List only this queue  [default: all queues]")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("-s", "--state", metavar="STATE", help="List only jobs in this state; repeatable"),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("-l", "--label", metavar="K=V", help="List only jobs with this label; repeatable"),
    ] = None,
    limit: Annotated[str, typer.Option("--limit", metavar="N", help="List at most N jobs")] = "50",
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """List jobs, most recently changed first.

    For example:

        oneshot-queue ls -s RUNNING -s IDLE
        oneshot-queue ls -q builds -l team=web --json
    """
    states = [_checked_state(each) for each in state or []]
    labels = pairs("--label", label or [])
    most = whole_number("--limit", limit, least=1, most=MAX_JOBS)
    destination = destination_for(broker_url(context, url))
    with open_queue(destination, queue) as opened:
        jobs = opened.list(state=states, labels=labels, limit=most, everywhere=queue is None)
    records = [job.record for job in jobs if job.record is not None]
    if as_json:
        print_line(json.dumps([job_json(each) for each in records]))
    elif is_terminal(1):
        _print_table(records)
    else:
        for line in plain_columns([_cells(each, each.id) for each in records]):
            print_line(line)
    return ExitCode.SUCCESS


def _checked_state(written: str) -> str:
    if written.upper() not in _STATES:
        raise UsageProblem(f"--state: {written!r} must be one of {', '.join(_STATES)}")
    return written.upper()


def _print_table(records: list[JobRecord]) -> None:
    if not records:
        print_message("no jobs found")
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
    # Drop a column that has no information: the same value for every job.
    for title, nothing in (("QUEUE", {"default"}), ("NAME", {NO_VALUE})):
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
        print_line(line)


def _cells(record: JobRecord, shown_id: str) -> list[str]:
    now_ms = SystemClock().now_ms()
    spec = record.spec
    ran = NO_VALUE
    if record.started_ms is not None:
        ran = brief_duration(((record.ended_ms or now_ms) - record.started_ms) / 1000)
    return [
        shown_id,
        record.queue,
        str(record.state),
        brief_duration((now_ms - record.created_ms) / 1000),
        ran,
        _exit_cell(record),
        (spec.name if spec else None) or NO_VALUE,
        command_text(record),
    ]


def _exit_cell(record: JobRecord) -> str:
    """The EXIT cell: how the job ended, or ``ending`` while an interrupt is pending."""
    if record.interrupting:
        return "ending"
    if not record.state.is_final:
        return NO_VALUE
    match str(record.cause):
        case "interrupted":
            return NO_VALUE  # The state shows it.
        case "exit":
            return str(record.exit_code)
        case "signal":
            return f"signal:{record.signal}"
        case cause:
            return cause
