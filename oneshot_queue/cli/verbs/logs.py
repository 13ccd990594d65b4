"""``logs``: print a job's output, or follow it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import InQueue, JobId, Url, broker_url, whole_number
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode
from oneshot_queue.cli.output.job_output import BOTH, OutputPrinter
from oneshot_queue.cli.output.terminal import is_terminal, print_message
from oneshot_queue.cli.waiting_notices import unattended_notice
from oneshot_queue.task_events import OutputStream

if TYPE_CHECKING:
    from oneshot_queue.client.verbs.logs import OutputChunk

MAX_LINES: Final = 100_000_000


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("logs", cls=Verb)(logs)


def logs(
    context: typer.Context,
    job_id: JobId,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow the output until the job ends")] = False,
    tail: Annotated[
        str | None, typer.Option("-n", "--tail", metavar="N", help="Start with the last N lines", show_default=False)
    ] = None,
    attempt: Annotated[
        str | None,
        typer.Option("--attempt", metavar="K", help="Print attempt K  [default: the latest]", show_default=False),
    ] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print only standard output")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Print only standard error")] = False,
    timestamps: Annotated[bool, typer.Option("-t", "--timestamps", help="Start each line with its time")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Pass terminal escape sequences through")] = False,
    queue: InQueue = None,
    url: Url = None,
) -> int:
    """Print a job's output.

    The job's stdout goes to stdout, its stderr to stderr.

        oneshot-queue logs last
        oneshot-queue logs -f -n 20 7kq2
        oneshot-queue logs --stdout 7kq2 > result
        oneshot-queue logs --attempt 1 7kq2
    """
    from oneshot_queue.checks import MAX_RETRIES

    lines = None if tail is None else whole_number("--tail", tail, least=0, most=MAX_LINES)
    number = None if attempt is None else whole_number("--attempt", attempt, least=1, most=MAX_RETRIES + 1)
    streams = [s for s, wanted in ((OutputStream.STDOUT, stdout), (OutputStream.STDERR, stderr)) if wanted] or BOTH
    destination = destination_for(broker_url(context, url))
    with open_queue(destination, queue) as opened:
        job = last_job.find_job(opened, destination, job_id, queue)
        printer = OutputPrinter(streams=streams, is_raw=raw, has_times=timestamps)
        after = None
        if lines is not None:
            so_far = list(job.output(attempt=number))
            for chunk in last_lines(so_far, streams, lines):
                printer.show(chunk)
            after = so_far[-1].cursor if so_far else None
        if lines is None or follow:
            on_unattended = unattended_notice(destination) if follow else None
            for chunk in job.output(follow=follow, after=after, attempt=number, on_unattended=on_unattended):
                printer.show(chunk)
        record = job.refresh().record
        assert record is not None
        printer.end(record if record.state.is_final and lines is None and number in (None, record.attempt) else None)
        if record.started_ms is None and not follow and is_terminal(2):
            print_message(
                f"job {job.id} was not started" if record.state.is_final else f"job {job.id} has not started yet"
            )
    return ExitCode.SUCCESS


def last_lines(chunks: Sequence[OutputChunk], streams: Collection[OutputStream], count: int) -> list[OutputChunk]:
    """The end of the output of these streams: its last ``count`` lines, in the order they were written."""
    found: list[OutputChunk] = []
    newlines = 0
    for chunk in reversed(chunks):
        if chunk.stream not in streams or count == 0:
            continue
        # A final newline ends the last line; every other newline is followed by a line.
        position = len(chunk.data) - (not found and chunk.data.endswith(b"\n"))
        while (position := chunk.data.rfind(b"\n", 0, position)) >= 0:
            newlines += 1
            if newlines == count:
                return [replace(chunk, data=chunk.data[position + 1 :], missing=0), *reversed(found)]
        found.append(chunk)
    return found[::-1]
