"""The measurements of the peers, as a Markdown table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from tests.bench.peers.peer import Work
from tests.bench.peers.programs import XARGS
from tests.bench.peers.rounds import Standing

_HEAD = ("system", "commands/s", "lowest … highest", "of xargs", "CPU, µs/command", "set-up")


def table(standings: Sequence[Standing], work: Work) -> Iterator[str]:
    """Yield the lines of a Markdown table, fastest first, and below it the peers that were not measured."""
    base = _base(standings)
    rows = [_HEAD]
    for standing in sorted(standings, key=lambda each: -_rate(each, work)):
        if standing.missing is not None:
            continue
        rates = standing.rates(work)
        ratio = "" if base is None else f"{statistics.median(standing.ratios(base)):.2f}"
        rows.append(
            (
                f"{standing.name} {standing.version}".strip(),
                f"{statistics.median(rates):,.0f}",
                f"{min(rates):,.0f} … {max(rates):,.0f}",
                ratio,
                f"{standing.used_us(work):,.0f}",
                standing.setup,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for number, row in enumerate(rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    absent = [standing for standing in standings if standing.missing is not None]
    if absent:
        yield ""
    for standing in absent:
        yield f"- {standing.name}: not measured: {standing.missing}"


def as_json(standings: Sequence[Standing], work: Work) -> list[dict[str, object]]:
    """The measurements as JSON, with every round."""
    base = _base(standings)
    return [
        {
            "name": standing.name,
            "version": standing.version,
            "setup": standing.setup,
            "missing": standing.missing,
            "rates": standing.rates(work),
            "of_xargs": None if base is None or standing.missing is not None else standing.ratios(base),
            "cpu_us": None if standing.missing is not None else standing.used_us(work),
        }
        for standing in standings
    ]


def _base(standings: Sequence[Standing]) -> Standing | None:
    return next((each for each in standings if each.name == XARGS.name and each.missing is None), None)


def _rate(standing: Standing, work: Work) -> float:
    return 0.0 if standing.missing is not None else statistics.median(standing.rates(work))
