"""``wait``: wait until jobs have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import InQueue, JobIds, Url, broker_url, seconds
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode, exit_code_of_job, result_text
from oneshot_queue.cli.output.terminal import print_message
from oneshot_queue.cli.waiting_notices import unattended_notice
from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import JobError, WaitTimedOut

if TYPE_CHECKING:
    from oneshot_queue.client.attention import OnUnattended
    from oneshot_queue.client.sync_queue import SyncJob
    from oneshot_queue.jobs import JobRecord


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("wait", cls=Verb)(wait)


def wait(
    context: typer.Context,
    job_ids: JobIds,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Stop waiting after this long; the jobs go on")
    ] = None,
    queue: InQueue = None,
    url: Url = None,
) -> int:
    """Wait until jobs have ended.

    For example:

        oneshot-queue wait last && echo it worked
        oneshot-queue wait --timeout 10m 7kq2 m3xa

    Exit code: for one job as for `run`; for several, 0 if all COMPLETED, else 1.
    """
    limit_s = seconds("--timeout", timeout)
    destination = destination_for(broker_url(context, url))
    clock = SystemClock()
    deadline = None if limit_s is None else clock.monotonic() + limit_s
    on_unattended = unattended_notice(destination)
    with open_queue(destination, queue) as opened:
        if len(job_ids) == 1:
            record = _wait_for(last_job.find_job(opened, destination, job_ids[0], queue), limit_s, on_unattended)
            if str(record.state) != "COMPLETED":
                print_message(f"job {record.id} {result_text(record)}")
            return exit_code_of_job(record)
        jobs, all_completed = [], True
        for word in job_ids:
            try:
                jobs.append(last_job.find_job(opened, destination, word, queue))
            except JobError as problem:
                print_message(str(problem))
                all_completed = False
        # Waiting for one after the other takes no longer than for all at once.
        for job in jobs:
            try:
                record = _wait_for(
                    job, None if deadline is None else max(0.0, deadline - clock.monotonic()), on_unattended
                )
            except WaitTimedOut as late:
                print_message(str(WaitTimedOut(late.job_id, late.state, limit_s or 0.0)))
                all_completed = False
            except JobError as problem:
                print_message(str(problem))
                all_completed = False
            else:
                print_message(f"job {record.id} {result_text(record)}")
                all_completed = all_completed and str(record.state) == "COMPLETED"
        return ExitCode.SUCCESS if all_completed else ExitCode.SOME_FAILED


def _wait_for(job: SyncJob, limit_s: float | None, on_unattended: OnUnattended) -> JobRecord:
    job.wait(limit_s, on_unattended=on_unattended)
    assert job.record is not None
    return job.record
