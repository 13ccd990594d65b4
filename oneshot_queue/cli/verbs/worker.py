"""``worker``: run jobs."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from oneshot_queue.cli.arguments.common import Url, broker_url, seconds, whole_number
from oneshot_queue.cli.arguments.destination import destination_for
from oneshot_queue.cli.arguments.worker import (
    Concurrency,
    DrainTimeout,
    LogFormatOption,
    LogLevelOption,
    Name,
    Processes,
    Queues,
    Quiet,
    checked_options,
    run_worker,
)
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import UsageProblem

MOST_JOBS: Final = 999_999_999
LEAST_LEASE_S: Final = 1.0
Lease = Annotated[
    str | None,
    typer.Option(
        "--lease",
        metavar="TIME",
        help="Let other workers fail or requeue its jobs after this long without a sign of life  [default: 30s]",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("worker", cls=Verb)(worker)


def worker(
    context: typer.Context,
    queues: Queues = None,
    concurrency: Concurrency = None,
    name: Name = None,
    burst: Annotated[bool, typer.Option("--burst", help="Exit once its queues are empty")] = False,
    max_jobs: Annotated[
        str | None, typer.Option("--max-jobs", metavar="N", help="Exit after N jobs", show_default=False)
    ] = None,
    processes: Processes = "1",
    drain_timeout: DrainTimeout = "30s",
    lease: Lease = None,
    allow_eviction: Annotated[
        bool, typer.Option("--allow-eviction", help="Work even if a full broker may evict jobs")
    ] = False,
    quiet: Quiet = False,
    log_format: LogFormatOption = "text",
    log_level: LogLevelOption = "warning",
    only_job: Annotated[str | None, typer.Option("--only-job", metavar="ID", hidden=True)] = None,
    url: Url = None,
) -> int:
    """Run jobs until stopped.

    On SIGTERM or Ctrl-C, take no new jobs and wait for the running ones; a second signal interrupts them, a third kills
    them.

    On stderr, one line reports each start and end of a job, unless --quiet. Log records add a date, a level and fields
    such as job=ID and queue=NAME. With --log-format json, every line is an object with time, level, logger and message,
    and job, queue, attempt, worker, cause and exception where they apply.

        oneshot-queue worker -q builds -q default -c 4
        oneshot-queue worker --burst
        oneshot-queue worker -c 64 --processes 4
        oneshot-queue worker --log-format json --log-level info
    """
    options = checked_options(
        queues,
        concurrency,
        processes,
        name,
        drain_timeout,
        quiet=quiet,
        log_format=log_format,
        log_level=log_level,
    )
    if max_jobs is not None:
        options["max_jobs"] = whole_number("--max-jobs", max_jobs, least=1, most=MOST_JOBS)
    lease_s = _lease_s(lease)
    return run_worker(
        destination_for(broker_url(context, url)),
        options | {"is_burst": burst, "only_job": only_job, "allows_eviction": allow_eviction},
        lease_s,
    )


def _lease_s(written: str | None) -> float | None:
    lease_s = seconds("--lease", written)
    if lease_s is not None and lease_s < LEAST_LEASE_S:
        raise UsageProblem(f"--lease: {written} is too short; the minimum is {LEAST_LEASE_S:g} s")
    return lease_s
