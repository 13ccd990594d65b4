"""``doctor``: check the broker and its queues, report problems, and repair what is safe to repair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode
from oneshot_queue.cli.output.escape import escaped
from oneshot_queue.cli.output.json import finding_json
from oneshot_queue.cli.output.tables import plain_columns
from oneshot_queue.cli.output.terminal import coloured, print_line

if TYPE_CHECKING:
    from oneshot_queue.client.doctor.findings import Finding

_COLOURS: Final = {"problem": "red", "warning": "yellow", "info": "dim", "repaired": "green"}

_NOUNS: Final = {
    "problem": ("problem", "problems"),
    "warning": ("warning", "warnings"),
    "info": ("note", "notes"),
    "repaired": ("repaired", "repaired"),
}


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("doctor", cls=Verb)(doctor)


def doctor(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Fix what is safe to fix automatically")] = False,
    queue: Annotated[
        str | None, typer.Option("-q", "--queue", metavar="QUEUE", help="Check only this queue", show_default=False)
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """Check the broker and its queues for problems.

    Each finding says what is wrong, what it means, and how to fix it. Without --repair, nothing is written.

        oneshot-queue doctor                    check the server and all queues
        oneshot-queue doctor --repair           fix what is safe to fix automatically
        oneshot-queue doctor -q builds --json   check the server and one queue, for a program

    Exit code: 0 if no problem or warning remains, else 1; info does not count.
    """
    with open_queue(destination_for(broker_url(context, url)), queue) as opened:
        found = [*_leftovers_on_this_machine(), *opened.doctor(repair=repair, everywhere=queue is None)]
    if as_json:
        print_line(json.dumps([finding_json(each) for each in found]))
    else:
        for line in _lines(found):
            print_line(line)
    return ExitCode.SOME_FAILED if any(each.is_open for each in found) else ExitCode.SUCCESS


def _leftovers_on_this_machine() -> list[Finding]:
    """What dead workers of this user left on this machine."""
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
            label = _label(each)
            lines.append(f"  {coloured(label, _COLOURS[label])}{next(rows)[len(label) :]}")
    return [*lines, _summary(found)]


def _row(finding: Finding) -> list[str]:
    advice = "" if finding.is_repaired else f" -> {finding.advice}"
    return [
        _label(finding),
        finding.code,
        escaped(finding.subject),
        escaped(f"{finding.what}; {finding.meaning}{advice}"),
    ]


def _label(finding: Finding) -> str:
    return "repaired" if finding.is_repaired else str(finding.severity)


def _summary(found: Sequence[Finding]) -> str:
    """How many findings there are of each kind, in one line."""
    counts = dict.fromkeys(_NOUNS, 0)
    for each in found:
        counts[_label(each)] += each.count
    parts = [f"{count} {_NOUNS[label][count != 1]}" for label, count in counts.items() if count]
    if not any(each.is_open for each in found):
        parts.insert(0, "no problems left" if counts["repaired"] else "no problems found")
    if repairable := sum(each.count for each in found if each.is_repairable and not each.is_repaired):
        parts.append(f"--repair can fix {repairable}")
    return "; ".join(parts)
