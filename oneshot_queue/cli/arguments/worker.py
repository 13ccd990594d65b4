"""``worker`` and ``up``: run jobs."""

from __future__ import annotations

import os
import socket
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
    typer.Option("-q", "--queue", metavar="QUEUE", help="Take jobs from it; several times.  [default: default]"),
]
Concurrency = Annotated[
    str | None, typer.Option("-c", "--concurrency", metavar="N", help="Most jobs at once.  [default: usable CPUs]")
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What people call it.  [default: host and pid]")
]
DrainTimeout = Annotated[
    str, typer.Option("--drain-timeout", metavar="TIME", help="What running jobs get when it is asked to stop.")
]
Processes = Annotated[
    str, typer.Option("--processes", metavar="N", help="Worker processes that share the slots, one CPU each.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Do not print a line for each start and end.")]


def checked_options(
    queues: list[str] | None, concurrency: str | None, processes: str, name: str | None, drain_timeout: str
) -> dict[str, Any]:
    """Read a worker's options before anything is started for it."""
    from oneshot_queue.checks import checked_name

    slots = len(os.sched_getaffinity(0))
    if concurrency is not None:
        slots = whole_number("--concurrency", concurrency, least=1, most=MOST_SLOTS)
    count = whole_number("--processes", processes, least=1, most=MOST_PROCESSES)
    if count > slots:
        raise UsageProblem(f"--processes: {count} processes cannot share {slots} slots; say -c {count} or more")
    return {
        "queues": tuple(dict.fromkeys(checked_name("queue", queue) for queue in queues or [DEFAULT_QUEUE])),
        "concurrency": slots,
        "processes": count,
        "name": f"{socket.gethostname()}-{os.getpid()}"[-64:] if name is None else checked_name("--name", name),
        "drain_timeout_s": seconds("--drain-timeout", drain_timeout),
    }


def run_worker(broker: Destination, options: dict[str, Any], lease_s: float | None = None) -> int:
    """Run workers in this process until they are stopped; returns the exit code."""
    from oneshot_queue.workers.main import WorkerOptions, run_workers

    settings = broker.settings if lease_s is None else replace(broker.settings, lease_s=lease_s)
    return run_workers(WorkerOptions(url=broker.url, settings=settings, **options))
