"""Options that ``worker`` and ``up`` share."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import typer

from oneshot_queue.cli.arguments.common import seconds, whole_number
from oneshot_queue.cli.arguments.destination import DEFAULT_QUEUE, Destination
from oneshot_queue.cli.exit_codes import UsageProblem

MOST_SLOTS: Final = 10_000
MOST_PROCESSES: Final = 256

Queues = Annotated[
    list[str] | None,
    typer.Option("-q", "--queue", metavar="QUEUE", help="Take jobs from this queue; repeatable  [default: default]"),
]
Concurrency = Annotated[
    str | None,
    typer.Option("-c", "--concurrency", metavar="N", help="Run at most N jobs at once  [default: usable CPUs]"),
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Set the worker's display name  [default: host and pid]")
]
DrainTimeout = Annotated[
    str, typer.Option("--drain-timeout", metavar="TIME", help="Wait this long for running jobs on shutdown")
]
Processes = Annotated[
    str,
    typer.Option("--processes", metavar="N", help="Start N worker processes, which share the concurrent jobs"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Do not print a line for the start and end of each job")]
LogFormatOption = Annotated[
    str,
    typer.Option("--log-format", metavar="FORMAT", help="Write stderr as `text`, or `json` with one object per line"),
]
LogLevelOption = Annotated[
    str,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help="Write log records of this level and above: `debug`, `info`, `warning` or `error`; "
        "lines about jobs do not depend on it, see --quiet",
    ),
]


def checked_options(
    queues: list[str] | None,
    concurrency: str | None,
    processes: str,
    name: str | None,
    drain_timeout: str,
    *,
    quiet: bool,
    log_format: str,
    log_level: str,
) -> dict[str, Any]:
    """Check a worker's options before anything is started for it.

    Returns:
        Keyword arguments for ``WorkerOptions``.

    Raises:
        UsageProblem: An option is invalid.
    """
    from oneshot_queue.checks import checked_name
    from oneshot_queue.telemetry.logging import LOG_FORMATS, LOG_LEVELS

    slots = len(os.sched_getaffinity(0))
    if concurrency is not None:
        slots = whole_number("--concurrency", concurrency, least=1, most=MOST_SLOTS)
    count = whole_number("--processes", processes, least=1, most=MOST_PROCESSES)
    if count > slots:
        raise UsageProblem(f"--processes: {count} processes cannot share {slots} concurrent jobs; use -c {count}")
    return {
        "queues": tuple(dict.fromkeys(checked_name("queue", queue) for queue in queues or [DEFAULT_QUEUE])),
        "concurrency": slots,
        "processes": count,
        "name": f"{socket.gethostname()}-{os.getpid()}"[-64:] if name is None else checked_name("--name", name),
        "drain_timeout_s": seconds("--drain-timeout", drain_timeout),
        "is_quiet": quiet,
        "log_format": _one_of("--log-format", log_format, LOG_FORMATS),
        "log_level": _one_of("--log-level", log_level, LOG_LEVELS),
    }


def run_worker(destination: Destination, options: dict[str, Any], lease_s: float | None = None) -> int:
    """Supervise workers from this process until they are stopped; returns the exit code."""
    from oneshot_queue.workers.main import WorkerOptions, run_workers

    settings = destination.settings if lease_s is None else replace(destination.settings, lease_s=lease_s)
    return run_workers(WorkerOptions(url=destination.url, settings=settings, **options))


def _one_of(option: str, written: str, allowed: Sequence[str]) -> str:
    if written not in allowed:
        raise UsageProblem(f"{option}: {written!r} must be one of {', '.join(allowed)}")
    return written
