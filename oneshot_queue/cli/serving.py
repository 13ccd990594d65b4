"""``worker`` and ``up``: run jobs."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Annotated, Any, Final

import typer

from oneshot_queue.cli.connecting import DEFAULT_QUEUE, Broker, broker_for
from oneshot_queue.cli.exits import UsageProblem
from oneshot_queue.cli.options import Url, broker_url, seconds, whole_number
from oneshot_queue.cli.terminal import say
from oneshot_queue.cli.verbs import Verb

MOST_SLOTS: Final = 10_000
MOST_PROCESSES: Final = 256
MOST_JOBS: Final = 999_999_999
LEAST_LEASE_S: Final = 1.0

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
Lease = Annotated[
    str | None,
    typer.Option(
        "--lease",
        metavar="TIME",
        help="Silence after which others decide its jobs.  [default: 30s]",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Do not print a line for each start and end.")]


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    app.command("worker", cls=Verb)(worker)
    app.command("up", cls=Verb)(up)


def worker(
    context: typer.Context,
    queues: Queues = None,
    concurrency: Concurrency = None,
    name: Name = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when its queues are empty.")] = False,
    max_jobs: Annotated[
        str | None, typer.Option("--max-jobs", metavar="N", help="End after so many jobs.", show_default=False)
    ] = None,
    processes: Processes = "1",
    drain_timeout: DrainTimeout = "30s",
    lease: Lease = None,
    allow_eviction: Annotated[
        bool, typer.Option("--allow-eviction", help="Work even where a full broker throws jobs away.")
    ] = False,
    quiet: Quiet = False,
    only_job: Annotated[str | None, typer.Option("--only-job", metavar="ID", hidden=True)] = None,
    url: Url = None,
) -> int:
    """Run jobs until stopped.

    SIGTERM or Ctrl-C: take no more, and let the running ones end; the second interrupts them; the third kills them.

        oneshot-queue worker -q builds -q default -c 4
        oneshot-queue worker --burst
        oneshot-queue worker -c 64 --processes 4
    """
    options = _checked(queues, concurrency, processes, name, drain_timeout) | {"is_quiet": quiet, "is_burst": burst}
    if max_jobs is not None:
        options["max_jobs"] = whole_number("--max-jobs", max_jobs, least=1, most=MOST_JOBS)
    lease_s = _lease_s(lease)
    return _run(
        broker_for(broker_url(context, url)),
        options | {"only_job": only_job, "allows_eviction": allow_eviction},
        lease_s,
    )


def up(
    context: typer.Context,
    queues: Queues = None,
    concurrency: Concurrency = None,
    processes: Processes = "1",
    name: Name = None,
    drain_timeout: DrainTimeout = "30s",
    quiet: Quiet = False,
) -> int:
    """Run the local broker, and a worker for it, in the foreground.

    When the worker ends, the broker and the jobs stay: `oneshot-queue broker stop` ends it.
    """
    from oneshot_queue.broker import ensure_running
    from oneshot_queue.settings import Settings

    if broker_url(context, None) is not None:
        raise UsageProblem("up is for the local broker; for another one: oneshot-queue --url URL worker")
    options = _checked(queues, concurrency, processes, name, drain_timeout) | {"is_quiet": quiet}
    settings = Settings.from_env()
    found = ensure_running()
    if settings.url is not None:
        say("up uses the local broker, not the one that ONESHOT_QUEUE_URL names")
    if not quiet:
        say(f"local broker: {found.kind} {found.version} at {found.url}")
    return _run(Broker(replace(settings, url=found.url), is_local=True), options)


def _checked(
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


def _lease_s(written: str | None) -> float | None:
    lease_s = seconds("--lease", written)
    if lease_s is not None and lease_s < LEAST_LEASE_S:
        raise UsageProblem(f"--lease: {written} is shorter than {LEAST_LEASE_S:g} s")
    return lease_s


def _run(broker: Broker, options: dict[str, Any], lease_s: float | None = None) -> int:
    from workers.main import WorkerOptions, run_workers

    settings = broker.settings if lease_s is None else replace(broker.settings, lease_s=lease_s)
    return run_workers(WorkerOptions(url=broker.url, settings=settings, **options))
