"""``ls`` and ``show``: what is known of jobs."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli import last
from oneshot_queue.cli.connecting import broker_for, connected
from oneshot_queue.cli.escape import escaped
from oneshot_queue.cli.exits import Exit, UsageProblem, ending
from oneshot_queue.cli.forms import job_form, whole_job_form
from oneshot_queue.cli.options import AsJson, InQueue, JobId, Url, broker_url, pairs, whole_number
from oneshot_queue.cli.tables import Column, plain_columns, short_ids, table
from oneshot_queue.cli.terminal import coloured, is_terminal, put, say, width
from oneshot_queue.cli.verbs import Verb
from oneshot_queue.clock import SystemClock, rfc3339
from oneshot_queue.durations import brief_duration

if TYPE_CHECKING:
    from oneshot_queue.jobs import JobRecord, JobSpec

MOST_JOBS: Final = 10_000
NONE: Final = "-"
_STATES: Final = ("CREATED", "RUNNING", "IDLE", "INTERRUPTED", "COMPLETED", "FAILED")
_COLOURS: Final = {
    "CREATED": "blue",
    "RUNNING": "cyan",
    "IDLE": "yellow",
    "INTERRUPTED": "yellow",
    "COMPLETED": "green",
    "FAILED": "red",
}


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    app.command("ls", cls=Verb)(ls)
    app.command("show", cls=Verb)(show)


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


def show(context: typer.Context, job_id: JobId, queue: InQueue = None, as_json: AsJson = False, url: Url = None) -> int:
    """Show one job with its history.

    For example:

        oneshot-queue show last
        oneshot-queue show --json 7kq2 | jq .exit_code
    """
    broker = broker_for(broker_url(context, url))
    with connected(broker, queue) as opened:
        record = last.named(opened, broker, job_id, queue).record
    assert record is not None
    if as_json:
        put(json.dumps(whole_job_form(record)))
    else:
        for line in _description(record):
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
        return coloured(cell, _COLOURS[cell.strip().rstrip("!")]) if title == "STATE" else cell

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


def _command(record: JobRecord) -> str:
    from oneshot_queue.jobs import text_of

    if record.spec is None:
        return "(unreadable)"
    # Escaped before it is quoted: a quote sign must not vanish behind what is shown instead of a control character.
    return " ".join(shlex.quote(escaped(text_of(word))) for word in record.spec.command)


def _description(record: JobRecord) -> list[str]:
    state = str(record.state)
    lines = [("job", record.id), ("queue", record.queue), ("state", coloured(state, _COLOURS[state]))]
    if record.interrupting:
        lines.append(("", "an interrupt is on record and has not ended it yet"))
    if record.state.is_final:
        lines.append(("end", escaped(ending(record))))
    lines += [(name, escaped(value)) for name, value in _facts(record) if value]
    rows = [f"{coloured(f'{name:<9}', 'dim')} {value}" for name, value in lines]
    rows.append(coloured("history", "dim"))
    for index, row in enumerate(record.history):
        if record.history_dropped and index == len(record.history) - 200:
            rows.append(f"  … {record.history_dropped} more")
        words = [rfc3339(row.at_ms), f"{row.state:<11}", *(each for each in (row.cause, row.detail, row.by) if each)]
        words += [f"attempt {row.attempt}"] if record.attempt > 1 else []
        rows.append(escaped(f"  {'  '.join(words)}"))
    return rows


def _retries(record: JobRecord, spec: JobSpec) -> str:
    if not spec.retries:
        return ""
    after = ", ".join(str(each) for each in spec.retry_on)
    return f"{record.attempt - 1} of {spec.retries} used; after {after}"


def _facts(record: JobRecord) -> list[tuple[str, str]]:
    spec, usage = record.spec, record.usage
    facts = [("command", _command(record))]
    if spec is not None:
        limits = {
            "time": spec.time_limit,
            "idle after": spec.idle_after,
            "idle": spec.idle_timeout,
            "grace": spec.grace,
        }
        facts += [
            ("name", spec.name or ""),
            ("cwd", spec.cwd or ""),
            ("labels", " ".join(f"{key}={value}" for key, value in spec.labels.items())),
            ("priority", str(spec.priority) if spec.priority != "normal" else ""),
            ("retry of", spec.retry_of or ""),
            ("retries", _retries(record, spec)),
            ("exclusive", "yes" if spec.is_exclusive else ""),
            (
                "limits",
                ", ".join(f"{what} {brief_duration(value)}" for what, value in limits.items() if value is not None),
            ),
        ]
    if record.due_ms is not None:
        facts.append(("due", rfc3339(record.due_ms)))
    if record.expires_ms is not None:
        facts.append(("expires", f"{rfc3339(record.expires_ms)}, unless it has been started"))
    if not record.is_confirmed:
        facts.append(("", "decided without its worker: whether its processes are gone was not seen"))
    if record.worker:
        process = f", process {record.pid}" if record.pid else ""
        facts.append(("worker", f"{record.worker} on {record.host}{process}"))
    now_ms = record.ended_ms or SystemClock().now_ms()
    if record.started_ms is not None:
        facts.append(("ran", brief_duration((now_ms - record.started_ms) / 1000)))
    if record.output.bytes:
        dropped = f", {record.output.dropped} of them not kept" if record.output.dropped else ""
        facts.append(("output", f"{record.output.bytes} bytes{dropped}"))
    if record.outputs_dropped:
        which = f"attempts 1 to {record.outputs_dropped}" if record.outputs_dropped > 1 else "attempt 1"
        facts.append(("dropped", f"the output of {which}"))
    if usage is not None:
        cpu = f"CPU {usage.cpu_user_s:.2f} s user, {usage.cpu_system_s:.2f} s system"
        facts.append(("usage", f"{cpu}; {usage.max_rss_bytes / 1_048_576:.1f} MiB at most"))
    if record.survivors:
        facts.append(("survivors", f"{record.survivors} processes that SIGKILL did not end"))
    return facts
