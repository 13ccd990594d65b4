"""``doctor``: what is wrong with the broker and its queues, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url
from oneshot_queue.cli.arguments.destination import broker_for, connected
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import Exit
from oneshot_queue.cli.output.escape import escaped
from oneshot_queue.cli.output.json import finding_form
from oneshot_queue.cli.output.tables import plain_columns
from oneshot_queue.cli.output.terminal import coloured, put

if TYPE_CHECKING:
    from oneshot_queue.client.doctor.findings import Finding

_COLOURS: Final = {"problem": "red", "warning": "yellow", "info": "dim", "mended": "green"}

_NUMBERS: Final = {
    "problem": ("problem", "problems"),
    "warning": ("warning", "warnings"),
    "info": ("note", "notes"),
    "mended": ("mended", "mended"),
}


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("doctor", cls=Verb)(doctor)


def doctor(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without a guess.")] = False,
    queue: Annotated[
        str | None, typer.Option("-q", "--queue", metavar="QUEUE", help="Only this queue.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """Examine the broker and its queues: what is wrong, what it means, what to do.

    Nothing is written without --repair. The exit code is 0 if nothing is wrong, or nothing any more, and 1 otherwise;
    what is told as info is not wrong.

        oneshot-queue doctor                    look at everything
        oneshot-queue doctor --repair           mend it; a second time there is nothing left to mend
        oneshot-queue doctor -q builds --json   one queue, for a program
    """
    with connected(broker_for(broker_url(context, url)), queue) as opened:
        found = [*_left_on_this_machine(), *opened.doctor(repair=repair, everywhere=queue is None)]
    if as_json:
        put(json.dumps([finding_form(each) for each in found]))
    else:
        for line in _lines(found):
            put(line)
    return Exit.SOME_FAILED if any(each.is_open for each in found) else Exit.DONE


def _left_on_this_machine() -> list[Finding]:
    """What dead workers of this user left here."""
    from oneshot_queue.client.doctor.findings import Report
    from oneshot_queue.workers.main import find_leftovers

    report = Report()
    for each in find_leftovers():
        report.add("waiting-spool" if each.has_spool else "dead-worker", each.worker_id)
    return report.findings()


def _lines(found: Sequence[Finding]) -> list[str]:
    lines = []
    rows = iter(plain_columns([_row(each) for each in found]))
    for queue, group in groupby(found, key=lambda each: each.queue):
        lines.append(coloured("server" if queue is None else f"queue {escaped(queue)}", "bold"))
        for each in group:
            mark = _mark(each)
            lines.append(f"  {coloured(mark, _COLOURS[mark])}{next(rows)[len(mark) :]}")
    return [*lines, _sum(found)]


def _row(finding: Finding) -> list[str]:
    advice = "" if finding.is_repaired else f" -> {finding.advice}"
    return [
        _mark(finding),
        finding.code,
        escaped(finding.subject),
        escaped(f"{finding.what}; {finding.meaning}{advice}"),
    ]


def _mark(finding: Finding) -> str:
    return "mended" if finding.is_repaired else str(finding.severity)


def _sum(found: Sequence[Finding]) -> str:
    """Say in one line how many there are of each."""
    counts = dict.fromkeys(_NUMBERS, 0)
    for each in found:
        counts[_mark(each)] += each.count
    said = [f"{count} {_NUMBERS[mark][count != 1]}" for mark, count in counts.items() if count]
    if not any(each.is_open for each in found):
        said.insert(0, "nothing is wrong any more" if counts["mended"] else "nothing is wrong")
    if mendable := sum(each.count for each in found if each.is_repairable and not each.is_repaired):
        said.append(f"--repair mends {mendable}")
    return "; ".join(said)
