"""``interrupt``: end jobs, wherever they run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url, seconds
from oneshot_queue.cli.arguments.destination import Destination, broker_for, connected
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import Exit, UsageProblem
from oneshot_queue.cli.output.json import instant
from oneshot_queue.cli.output.terminal import is_terminal, put, say
from oneshot_queue.errors import JobNotFound, holder_of_unconfirmed

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncQueue
    from oneshot_queue.client.verbs.interrupt import InterruptReport

_CODES: Final = {
    "interrupted": Exit.DONE,
    "recorded": Exit.DONE,
    "already_final": Exit.ALREADY_FINAL,
    "ended_by_itself": Exit.ALREADY_FINAL,
    "not_confirmed": Exit.NOT_CONFIRMED,
    "not_found": Exit.NO_SUCH_JOB,
}


UNSEEN: Final = "its worker is gone, and nobody saw whether its processes are"


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("interrupt", cls=Verb)(interrupt)


def interrupt(
    context: typer.Context,
    job_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids, 4 or more of their first characters, or `last`.")
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option("-q", "--queue", metavar="QUEUE", help="Look in this queue first; or the queue of --all."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every job of the queue that waits or runs.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --all.")] = False,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="TIME", help="From SIGTERM to SIGKILL.  [default: the job's own]")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="SIGKILL at once: --grace 0.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Kept with the job.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end of a running job.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Wait no longer.  [default: the grace + 20s]")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """End jobs, with all their processes.

    A job that waits ends at once; for one that runs, this returns when no process of it is left.

        oneshot-queue interrupt last
        oneshot-queue interrupt --now --reason 'wrong branch' 7kq2
        oneshot-queue interrupt -q builds --all --yes

    Exit code: 0 done, 1 some of several failed, 3 no such job, 4 it had ended, or ended by itself
    first, 6 on record but not confirmed in time.
    """
    if now and grace is not None:
        raise UsageProblem("--now is --grace 0; give one of them")
    if everything == bool(job_ids):
        raise UsageProblem("name jobs, or a queue with -q QUEUE --all" + (", not both" if job_ids else ""))
    if everything and queue is None:
        raise UsageProblem("--all needs to know of which queue: -q QUEUE")
    if everything and not yes and not (is_terminal(0) and is_terminal(2)):
        raise UsageProblem("--all would ask on a terminal, and this is none; add --yes")
    wishes: dict[str, Any] = {
        "grace": 0.0 if now else seconds("--grace", grace),
        "reason": reason,
        "timeout": seconds("--timeout", timeout),
    }
    broker = broker_for(broker_url(context, url))
    with connected(broker, queue) as opened:
        if everything:
            ids = opened.unfinished()
            if ids and not yes and not _confirmed(len(ids), opened.name):
                say("nothing was interrupted")
                return Exit.INTERRUPTED
            reports = opened.interrupt(ids, confirm=not no_wait, **wishes) if ids else []
        else:
            reports = _interrupt_named(opened, broker, job_ids or [], queue, confirm=not no_wait, wishes=wishes)
    if as_json:
        put(json.dumps([_form(each) for each in reports]))
    else:
        for each in reports:
            put(_line(each))
        if everything and not reports:
            say(f"no job of queue {queue} waits or runs")
    # Of a whole queue it was asked that nothing is left, not who ended it.
    codes = [
        Exit.DONE if everything and _CODES[each.result] is Exit.ALREADY_FINAL else _CODES[each.result]
        for each in reports
    ]
    if not any(codes):
        return Exit.DONE
    return codes[0] if len(codes) == 1 else Exit.SOME_FAILED


def _confirmed(count: int, queue: str) -> bool:
    return typer.confirm(f"Interrupt {count} job{'s' * (count != 1)} of queue {queue}?", err=True)


def _interrupt_named(
    opened: SyncQueue,
    broker: Destination,
    words: Sequence[str],
    queue: str | None,
    *,
    confirm: bool,
    wishes: dict[str, Any],
) -> list[InterruptReport]:
    """Interrupt jobs of any queues; every word is looked up before the first job is touched."""
    found: dict[str, tuple[str, str] | None] = {}
    for word in dict.fromkeys(words):
        try:
            job = last_job.named(opened, broker, word, queue)
            found[word] = (job.queue, job.id)
        except JobNotFound as problem:
            say(str(problem))
            found[word] = None
    by_queue: dict[str, list[str]] = {}
    for place in found.values():
        if place is not None and place[1] not in by_queue.setdefault(place[0], []):
            by_queue[place[0]].append(place[1])
    # Of several queues, all are told before the first is waited for.
    at_once = confirm and len(by_queue) <= 1
    reports: dict[tuple[str, str], InterruptReport] = {}
    for name, ids in by_queue.items():
        for each in _interrupt_in(broker, name, ids, confirm=at_once, wishes=wishes):
            reports[name, each.job_id] = each
    if confirm and not at_once:
        for name in by_queue:
            told = [job_id for (where, job_id), each in reports.items() if where == name and each.result == "recorded"]
            for each in _interrupt_in(broker, name, told, confirm=True, wishes=wishes) if told else ():
                reports[name, each.job_id] = _as_first_told(each)
    return [_unknown(word) if place is None else reports[place] for word, place in found.items()]


def _as_first_told(report: InterruptReport) -> InterruptReport:
    """What became of a job that was told twice and ended in between."""
    from oneshot_queue.client.verbs.interrupt import InterruptResult
    from oneshot_queue.states import JobState

    if report.result is not InterruptResult.ALREADY_FINAL:
        return report
    is_own = report.state is JobState.INTERRUPTED
    return replace(report, result=InterruptResult.INTERRUPTED if is_own else InterruptResult.ENDED_BY_ITSELF)


def _interrupt_in(
    broker: Destination, queue: str, ids: list[str], *, confirm: bool, wishes: dict[str, Any]
) -> list[InterruptReport]:
    with connected(broker, queue) as opened:
        return opened.interrupt(ids, confirm=confirm, **wishes)


def _unknown(word: str) -> InterruptReport:
    from oneshot_queue.client.verbs.interrupt import InterruptReport, InterruptResult

    return InterruptReport(word, None, None, InterruptResult.NOT_FOUND)


def _form(report: InterruptReport) -> dict[str, Any]:
    state = None if report.state is None else str(report.state)
    return {
        "id": report.job_id,
        "state": state,
        "ended_at": instant(report.ended_ms),
        "result": str(report.result),
        "confirmed": report.is_confirmed,
    }


def _line(report: InterruptReport) -> str:
    match str(report.result):
        case "interrupted":
            words = "interrupted" if report.is_confirmed else f"interrupted; {UNSEEN}"
        case "recorded":
            words = f"interrupt on record; still {report.state}"
        case "already_final":
            words = f"had already ended: {report.state}"
        case "ended_by_itself":
            words = f"ended by itself first: {report.state}"
        case "not_confirmed":
            holder = holder_of_unconfirmed(report.worker)
            words = f"on record, but not confirmed: still {report.state}; {holder}"
        case _:
            words = "no such job"
    return f"{report.job_id}  {words}"
