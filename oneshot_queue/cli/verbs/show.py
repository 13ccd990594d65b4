"""``show``: print one job with its history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import AsJson, InQueue, JobId, Url, broker_url
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode, result_text
from oneshot_queue.cli.output.escape import escaped
from oneshot_queue.cli.output.job_text import STATE_COLOURS, UNCONFIRMED, command_text
from oneshot_queue.cli.output.json import job_with_history_json
from oneshot_queue.cli.output.terminal import coloured, print_line
from oneshot_queue.clock import SystemClock, rfc3339
from oneshot_queue.durations import brief_duration

if TYPE_CHECKING:
    from oneshot_queue.jobs import JobRecord
    from oneshot_queue.spec import JobSpec


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("show", cls=Verb)(show)


def show(context: typer.Context, job_id: JobId, queue: InQueue = None, as_json: AsJson = False, url: Url = None) -> int:
    """Show one job with its history.

    For example:

        oneshot-queue show last
        oneshot-queue show --json 7kq2 | jq .exit_code
    """
    destination = destination_for(broker_url(context, url))
    with open_queue(destination, queue) as opened:
        record = last_job.find_job(opened, destination, job_id, queue).record
    assert record is not None
    if as_json:
        print_line(json.dumps(job_with_history_json(record)))
    else:
        for line in _lines(record):
            print_line(line)
    return ExitCode.SUCCESS


def _lines(record: JobRecord) -> list[str]:
    state = str(record.state)
    lines = [("job", record.id), ("queue", record.queue), ("state", coloured(state, STATE_COLOURS[state]))]
    if record.interrupting:
        lines.append(("", "interrupt recorded; the job has not ended yet"))
    if record.state.is_final:
        lines.append(("result", escaped(result_text(record))))
    lines += [(name, escaped(value)) for name, value in _facts(record) if value]
    rows = [f"{coloured(f'{name:<9}', 'dim')} {value}" for name, value in lines]
    rows.append(coloured("history", "dim"))
    for index, row in enumerate(record.history):
        if record.history_dropped and index == len(record.history) - 200:
            rows.append(f"  … {record.history_dropped} rows omitted")
        words = [rfc3339(row.at_ms), f"{row.state:<11}", *(each for each in (row.cause, row.detail, row.by) if each)]
        words += [f"attempt {row.attempt}"] if record.attempt > 1 else []
        rows.append(escaped(f"  {'  '.join(words)}"))
    return rows


def _retries(record: JobRecord, spec: JobSpec) -> str:
    if not spec.retries:
        return ""
    after = ", ".join(str(each) for each in spec.retry_on)
    return f"{record.attempt - 1} of {spec.retries} used; retry on {after}"


def _facts(record: JobRecord) -> list[tuple[str, str]]:
    spec, usage = record.spec, record.usage
    facts = [("command", command_text(record))]
    if spec is not None:
        limits = {
            "time limit": spec.time_limit,
            "idle after": spec.idle_after,
            "idle timeout": spec.idle_timeout,
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
        facts.append(("expires", f"{rfc3339(record.expires_ms)}, unless started before"))
    if not record.is_confirmed:
        facts.append(("", UNCONFIRMED))
    if record.worker:
        process = f", process {record.pid}" if record.pid else ""
        facts.append(("worker", f"{record.worker} on {record.host}{process}"))
    now_ms = record.ended_ms or SystemClock().now_ms()
    if record.started_ms is not None:
        facts.append(("ran", brief_duration((now_ms - record.started_ms) / 1000)))
    if record.output.bytes:
        dropped = f", {record.output.dropped} of them dropped" if record.output.dropped else ""
        facts.append(("output", f"{record.output.bytes} bytes{dropped}"))
    if record.outputs_dropped:
        which = f"attempts 1 to {record.outputs_dropped}" if record.outputs_dropped > 1 else "attempt 1"
        facts.append(("dropped", f"the output of {which}"))
    if usage is not None:
        cpu = f"CPU {usage.cpu_user_s:.2f} s user, {usage.cpu_system_s:.2f} s system"
        facts.append(("usage", f"{cpu}; {usage.max_rss_bytes / 1_048_576:.1f} MiB peak memory"))
    if record.survivors:
        facts.append(("survivors", f"{record.survivors} processes still alive after SIGKILL"))
    return facts
