"""``wait``: until jobs have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import InQueue, JobIds, Url, broker_url, seconds
from oneshot_queue.cli.arguments.destination import broker_for, connected
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import Exit, ending, exit_code_of
from oneshot_queue.cli.output.terminal import say
from oneshot_queue.cli.waiting_notices import nobody_works_on_it
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
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="Wait no longer than this.")] = None,
    queue: InQueue = None,
    url: Url = None,
) -> int:
    """Wait until jobs have ended.

        oneshot-queue wait last && echo it worked
        oneshot-queue wait --timeout 10m 7kq2 m3xa

    Exit code: for one job as `run`; for several 0 if all COMPLETED, else 1.
    """
    limit_s = seconds("--timeout", timeout)
    broker = broker_for(broker_url(context, url))
    clock = SystemClock()
    deadline = None if limit_s is None else clock.monotonic() + limit_s
    tell = nobody_works_on_it(broker)
    with connected(broker, queue) as opened:
        if len(job_ids) == 1:
            record = _ended(last_job.named(opened, broker, job_ids[0], queue), limit_s, tell)
            if str(record.state) != "COMPLETED":
                say(f"job {record.id} {ending(record)}")
            return exit_code_of(record)
        jobs, all_completed = [], True
        for word in job_ids:
            try:
                jobs.append(last_job.named(opened, broker, word, queue))
            except JobError as problem:
                say(str(problem))
                all_completed = False
        # One after the other takes no longer than all at once: the last one to end decides.
        for job in jobs:
            try:
                record = _ended(job, None if deadline is None else max(0.0, deadline - clock.monotonic()), tell)
            except WaitTimedOut as late:
                say(str(WaitTimedOut(late.job_id, late.state, limit_s or 0.0)))
                all_completed = False
            except JobError as problem:
                say(str(problem))
                all_completed = False
            else:
                say(f"job {record.id} {ending(record)}")
                all_completed = all_completed and str(record.state) == "COMPLETED"
        return Exit.DONE if all_completed else Exit.SOME_FAILED


def _ended(job: SyncJob, limit_s: float | None, tell: OnUnattended) -> JobRecord:
    job.wait(limit_s, on_unattended=tell)
    assert job.record is not None
    return job.record
