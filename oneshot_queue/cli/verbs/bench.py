"""``bench``: how fast this broker, this machine and this project are together."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli.arguments.common import AsJson, Url, broker_url, whole_number
from oneshot_queue.cli.arguments.destination import broker_for, connected
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.exit_codes import Exit, UsageProblem
from oneshot_queue.cli.output.terminal import coloured, is_terminal, put, say, width

if TYPE_CHECKING:
    from oneshot_queue.bench.measuring import Section

MOST_RTT_MS: Final = 1_000.0


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("bench", cls=Verb)(bench)


def bench(
    context: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only this, more than once for more.", show_default=False),
    ] = None,
    rtt: Annotated[
        str,
        typer.Option("--rtt", metavar="MS,…", help="Measure with round trips so much longer; 0 is what ratios are of."),
    ] = "0,2",
    rounds: Annotated[
        str | None, typer.Option("--rounds", metavar="N", help="Turns of what takes turns.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A first look, not a result.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> int:
    """Measure throughput, latency, interrupts, recovery, output and memory on this broker.

    It starts workers of its own, in a namespace of its own, and removes both at the end. Nothing else on the broker is
    touched, but all of it is busy meanwhile: not for a broker that others wait for.

    Names for --only: throughput, enqueueing, latency, interrupts, recovery, output, memory.

        oneshot-queue bench --quick                   a first look
        oneshot-queue bench --only throughput         commands a second, next to xargs
        oneshot-queue bench --rtt 0,10 --json         as if the broker were 10 ms away, for a program
    """
    from oneshot_queue.bench.figures import MeasurementSpoilt
    from oneshot_queue.bench.machine import machine_facts
    from oneshot_queue.bench.measuring import FAMILIES, measured
    from oneshot_queue.bench.sizes import FULL, QUICK

    for name in only or ():
        if name not in FAMILIES:
            raise UsageProblem(f"--only: there is no {name!r}; there are {', '.join(FAMILIES)}")
    delays_s = _delays_s(rtt)
    sizes = QUICK if quick else FULL
    if rounds is not None:
        sizes = replace(sizes, rounds=whole_number("--rounds", rounds, least=1, most=100))
    broker = broker_for(broker_url(context, url))
    scheme = broker.url.partition("://")[0]
    if scheme not in ("redis", "unix") and any(delays_s):
        say(f"a {scheme}:// broker cannot be measured from afar; measuring it as it is")
        delays_s = [0.0]
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)  # as Ctrl-C: workers and keys are gone at the end
    with connected(broker):
        machine = machine_facts(broker.url)
    sections: list[Section] = []
    ended = Exit.DONE
    if not as_json:
        put(" · ".join(f"{name} {value}" for name, value in machine.items()))
    try:
        for section in measured(broker.url, only or list(FAMILIES), delays_s, sizes):
            sections.append(section)
            if not as_json:
                _show(section)
    except MeasurementSpoilt as problem:
        say(f"the measurement is spoilt: {problem}")
        ended = Exit.SOME_FAILED
    if as_json:
        lines = [line for section in sections for line in section.as_json()]
        put(json.dumps({"machine": machine, "quick": quick, "lines": lines}))
    return ended


def _show(section: Section) -> None:
    from oneshot_queue.bench.chart import table

    put(f"\n{coloured(section.title, 'bold')}")
    for line in table(section.lines, width() if is_terminal(1) else None):
        put(line)


def _delays_s(written: str) -> list[float]:
    found = []
    for word in written.split(","):
        try:
            delay_ms = float(word)
        except ValueError:
            delay_ms = -1.0
        if not 0 <= delay_ms <= MOST_RTT_MS:
            raise UsageProblem(f"--rtt: {word!r} must be milliseconds, from 0 to {MOST_RTT_MS:g}")
        found.append(delay_ms / 1e3)
    return found
