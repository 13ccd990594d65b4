"""``interrupt``: end jobs, wherever they run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url, seconds
from oneshot_queue.cli.arguments.destination import Destination, destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode, UsageProblem
from oneshot_queue.cli.output.job_text import UNCONFIRMED
from oneshot_queue.cli.output.json import interrupt_json
from oneshot_queue.cli.output.terminal import is_terminal, print_line, print_message
from oneshot_queue.errors import JobNotFound, holder_of_unconfirmed

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncQueue
    from oneshot_queue.client.verbs.interrupt import InterruptReport

_CODES: Final = {
    "interrupted": ExitCode.SUCCESS,
    "recorded": ExitCode.SUCCESS,
    "already_final": ExitCode.ALREADY_FINAL,
    "ended_by_itself": ExitCode.ALREADY_FINAL,
    "not_confirmed": ExitCode.NOT_CONFIRMED,
    "not_found": ExitCode.NO_SUCH_JOB,
}


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("interrupt", cls=Verb)(interrupt)


def interrupt(
    context: typer.Context,
    job_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Job ids, unique prefixes of at least 4 characters, or `last`"),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option("-q", "--queue", metavar="QUEUE", help="Search this queue first; with --all, interrupt its jobs"),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Interrupt all waiting and running jobs of the queue")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation")] = False,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", metavar="TIME", help="Wait this long between SIGTERM and SIGKILL  [default: the job's --grace]"
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Send SIGKILL at once; same as --grace 0")] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Record this reason with the job")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for running jobs to end")] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="Stop waiting after this long  [default: the grace + 20s]"),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """End jobs, with all their processes.

    A waiting job ends at once. For a running job, return when none of its processes is left.

        oneshot-queue interrupt last
        oneshot-queue interrupt --now --reason 'wrong branch' 7kq2
        oneshot-queue interrupt -q builds --all --yes

    Exit code: 0 success; 1 some of several failed; 3 no such job; 4 already ended, or ended by itself
    first; 6 recorded, end not confirmed in time.
    """
    if now and grace is not None:
        raise UsageProblem("--now means --grace 0; give only one of them")
    if everything == bool(job_ids):
        raise UsageProblem("give job ids, or -q QUEUE --all" + (", not both" if job_ids else ""))
    if everything and queue is None:
        raise UsageProblem("--all needs a queue; add -q QUEUE")
    if everything and not yes and not (is_terminal(0) and is_terminal(2)):
        raise UsageProblem("--all needs confirmation, but this is not a terminal; add --yes")
    options: dict[str, Any] = {
        "grace": 0.0 if now else seconds("--grace", grace),
        "reason": reason,
        "timeout": seconds("--timeout", timeout),
    }
    destination = destination_for(broker_url(context, url))
    with open_queue(destination, queue) as opened:
        if everything:
            ids = opened.unfinished()
            if ids and not yes and not _confirmed(len(ids), opened.name):
                print_message("nothing was interrupted")
                return ExitCode.INTERRUPTED
            reports = opened.interrupt(ids, confirm=not no_wait, **options) if ids else []
        else:
            reports = _interrupt_by_id(opened, destination, job_ids or [], queue, confirm=not no_wait, options=options)
    if as_json:
        print_line(json.dumps([interrupt_json(each) for each in reports]))
    else:
        for each in reports:
            print_line(_line(each))
        if everything and not reports:
            print_message(f"queue {queue} has no waiting or running jobs")
    # With --all, a job that has ended is a success, however it ended.
    codes = [
        ExitCode.SUCCESS if everything and _CODES[each.result] is ExitCode.ALREADY_FINAL else _CODES[each.result]
        for each in reports
    ]
    if not any(codes):
        return ExitCode.SUCCESS
    return codes[0] if len(codes) == 1 else ExitCode.SOME_FAILED


def _confirmed(count: int, queue: str) -> bool:
    return typer.confirm(f"Interrupt {count} job{'s' * (count != 1)} of queue {queue}?", err=True)


def _interrupt_by_id(
    opened: SyncQueue,
    destination: Destination,
    words: Sequence[str],
    queue: str | None,
    *,
    confirm: bool,
    options: dict[str, Any],
) -> list[InterruptReport]:
    """Interrupt jobs of any queue; look up every word before interrupting the first job."""
    places: dict[str, tuple[str, str] | None] = {}
    for word in dict.fromkeys(words):
        try:
            job = last_job.find_job(opened, destination, word, queue)
            places[word] = (job.queue, job.id)
        except JobNotFound as problem:
            print_message(str(problem))
            places[word] = None
    by_queue: dict[str, list[str]] = {}
    for place in places.values():
        if place is not None and place[1] not in by_queue.setdefault(place[0], []):
            by_queue[place[0]].append(place[1])
    # With several queues, record the interrupts in all of them before waiting for the first.
    in_one_step = confirm and len(by_queue) <= 1
    reports: dict[tuple[str, str], InterruptReport] = {}
    for name, ids in by_queue.items():
        for each in _interrupt_in(destination, name, ids, confirm=in_one_step, options=options):
            reports[name, each.job_id] = each
    if confirm and not in_one_step:
        for name in by_queue:
            recorded = [
                job_id for (where, job_id), each in reports.items() if where == name and each.result == "recorded"
            ]
            for each in _interrupt_in(destination, name, recorded, confirm=True, options=options) if recorded else ():
                reports[name, each.job_id] = _as_first_interrupted(each)
    return [_not_found(word) if place is None else reports[place] for word, place in places.items()]


def _as_first_interrupted(report: InterruptReport) -> InterruptReport:
    """Correct the report of a job that ended between its two interrupts."""
    from oneshot_queue.client.verbs.interrupt import InterruptResult
    from oneshot_queue.states import JobState

    if report.result is not InterruptResult.ALREADY_FINAL:
        return report
    is_interrupted = report.state is JobState.INTERRUPTED
    return replace(report, result=InterruptResult.INTERRUPTED if is_interrupted else InterruptResult.ENDED_BY_ITSELF)


def _interrupt_in(
    destination: Destination, queue: str, ids: list[str], *, confirm: bool, options: dict[str, Any]
) -> list[InterruptReport]:
    with open_queue(destination, queue) as opened:
        return opened.interrupt(ids, confirm=confirm, **options)


def _not_found(word: str) -> InterruptReport:
    from oneshot_queue.client.verbs.interrupt import InterruptReport, InterruptResult

    return InterruptReport(word, None, None, InterruptResult.NOT_FOUND)


def _line(report: InterruptReport) -> str:
    match str(report.result):
        case "interrupted":
            text = "interrupted" if report.is_confirmed else f"interrupted; {UNCONFIRMED}"
        case "recorded":
            text = f"interrupt recorded; still {report.state}"
        case "already_final":
            text = f"already ended: {report.state}"
        case "ended_by_itself":
            text = f"ended by itself first: {report.state}"
        case "not_confirmed":
            holder = holder_of_unconfirmed(report.worker)
            text = f"interrupt recorded, end not confirmed; still {report.state}; {holder}"
        case _:
            text = "no such job"
    return f"{report.job_id}  {text}"
