"""``enqueue``: store a job and print its id."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from oneshot_queue.cli.acknowledgement import acknowledge
from oneshot_queue.cli.arguments.common import AsJson, seconds
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.arguments.job import OPTIONS_END_AT_COMMAND, JobRequest, takes_a_job
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode, UsageProblem


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("enqueue", cls=Verb, context_settings=OPTIONS_END_AT_COMMAND)(takes_a_job(enqueue))


def enqueue(
    request: JobRequest,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="TIME", help="Start no sooner than this long from now")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="WHEN",
            help="Start no sooner than this local time, 2026-12-24T18:00, or with a zone: …Z, …+01:00",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="Fail the job if it has not started within this time"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Enqueue a command and print the job's id.

    For example:

        oneshot-queue enqueue -q builds -n nightly -- make -j4 all
        oneshot-queue enqueue --shell 'make && ./deploy' --time-limit 1h
        oneshot-queue enqueue -l team=web -e TOKEN --stdin data.json -- ./import
        oneshot-queue enqueue --retries 3 --retry-on exit,worker_lost --delay 5m -- ./fetch
    """
    delay_s, expires_s, instant = seconds("--delay", delay), seconds("--expires", expires), _instant(at)
    destination = destination_for(request.url)
    with open_queue(destination, request.queue) as queue:
        job = queue.enqueue(request.spec, id=request.id, delay=delay_s, at=instant, expires=expires_s)
        acknowledge(destination, queue, job, as_json=as_json)
    return ExitCode.SUCCESS


def _instant(written: str | None) -> datetime | None:
    if written is None:
        return None
    try:
        return datetime.fromisoformat(written).astimezone()
    except (ValueError, OverflowError, OSError):
        raise UsageProblem(
            f"--at: {written!r} is not a valid time; write 2026-12-24T18:00 or 2026-12-24T18:00:00Z"
        ) from None
