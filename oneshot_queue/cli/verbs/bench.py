"""``bench``: measure oneshot-queue on this broker and this machine."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url, whole_number
from oneshot_queue.cli.arguments.destination import destination_for, open_queue
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import ExitCode, UsageProblem
from oneshot_queue.cli.output.terminal import coloured, is_terminal, print_line, print_message, width

if TYPE_CHECKING:
    from oneshot_queue.bench.measuring import Section

MAX_RTT_MS: Final = 1_000.0


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("bench", cls=Verb)(bench)


def bench(
    context: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Run only this benchmark; repeatable", show_default=False),
    ] = None,
    rtt: Annotated[
        str,
        typer.Option("--rtt", metavar="MS,…", help="Add this much round-trip latency; 0 is the baseline of ratios"),
    ] = "0,2",
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds", metavar="N", help="Measure N rounds  [default: 5, or 2 with --quick]", show_default=False
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Take fewer samples, for a first impression")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """Measure oneshot-queue on this broker and this machine.

    It starts separate workers, uses separate keys, and removes both at the end. It loads the broker fully: do not run
    it in production.

    Names for --only: throughput, enqueueing, latency, interrupts, recovery, output, memory.

        oneshot-queue bench --quick                   get a first impression
        oneshot-queue bench --only throughput         measure commands per second, next to xargs
        oneshot-queue bench --rtt 0,10 --json         simulate a broker 10 ms away; print JSON
    """
    from oneshot_queue.bench.figures import MeasurementSpoilt
    from oneshot_queue.bench.machine import machine_facts
    from oneshot_queue.bench.measuring import FAMILIES, measured
    from oneshot_queue.bench.sizes import FULL, QUICK

    for name in only or ():
        if name not in FAMILIES:
            raise UsageProblem(f"--only: unknown benchmark {name!r}; benchmarks: {', '.join(FAMILIES)}")
    delays_s = _delays_s(rtt)
    sizes = QUICK if quick else FULL
    if rounds is not None:
        sizes = replace(sizes, rounds=whole_number("--rounds", rounds, least=1, most=100))
    destination = destination_for(broker_url(context, url))
    scheme = destination.url.partition("://")[0]
    if scheme not in ("redis", "unix") and any(delays_s):
        print_message(f"cannot add latency to a {scheme}:// broker; measuring without it")
        delays_s = [0.0]
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)  # As for Ctrl-C: workers and keys are removed.
    with open_queue(destination):
        machine = machine_facts(destination.url)
    sections: list[Section] = []
    code = ExitCode.SUCCESS
    if not as_json:
        print_line(" · ".join(f"{name} {value}" for name, value in machine.items()))
    try:
        for section in measured(destination.url, only or list(FAMILIES), delays_s, sizes):
            sections.append(section)
            if not as_json:
                _show(section)
    except MeasurementSpoilt as problem:
        print_message(f"the measurement failed: {problem}")
        code = ExitCode.SOME_FAILED
    if as_json:
        lines = [line for section in sections for line in section.as_json()]
        print_line(json.dumps({"machine": machine, "quick": quick, "lines": lines}))
    return code


def _show(section: Section) -> None:
    from oneshot_queue.bench.chart import table

    print_line(f"\n{coloured(section.title, 'bold')}")
    for line in table(section.lines, width() if is_terminal(1) else None):
        print_line(line)


def _delays_s(written: str) -> list[float]:
    delays_s = []
    for word in written.split(","):
        try:
            delay_ms = float(word)
        except ValueError:
            delay_ms = -1.0
        if not 0 <= delay_ms <= MAX_RTT_MS:
            raise UsageProblem(f"--rtt: {word!r} must be milliseconds from 0 to {MAX_RTT_MS:g}")
        delays_s.append(delay_ms / 1e3)
    return delays_s
