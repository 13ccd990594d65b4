"""``python -m tests.bench``: measure, print a table, and write it as JSON if asked to."""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from oneshot_queue.bench import measuring
from oneshot_queue.bench.figures import Line, MeasurementSpoilt
from tests.bench import floor, local, recovery, roundtrip, scale
from tests.bench.fleet import a_fleet
from tests.bench.report import machine, print_lines, print_machine, print_summary
from tests.bench.sizes import FULL, QUICK, Sizes

# First the families of `oneshot-queue bench`, each on a fresh server; then those that need a private server.
FAMILIES: Final[dict[str, Callable[[Sizes], Iterable[Line]]]] = {
    **{name: partial(family, a_fleet) for name, family in measuring.FAMILIES.items()},
    "roundtrip": roundtrip.measure,
    "recovery": recovery.measure,
    "scale": scale.measure,
    "floor": floor.measure,
    "local": local.measure,
}


def main(argv: Sequence[str] | None = None, *, quick: Sizes = QUICK) -> int:
    """Run the requested families.

    Args:
        argv: The command-line arguments; by default those of this process.
        quick: The sizes for ``--quick``.

    Returns:
        0 if everything was measured, whatever the numbers; 1 if a measurement was spoilt.
    """
    options = _options(argv)
    before = machine()
    print_machine()
    measured: dict[str, list[Line]] = {}
    for family in options.only or FAMILIES:
        try:
            measured[family] = list(FAMILIES[family](quick if options.quick else FULL))
        except MeasurementSpoilt as problem:
            print(f"{family}: spoilt: {problem}", file=sys.stderr)
            return 1
        print_lines(family, measured[family])
    print_summary([line for lines in measured.values() for line in lines])
    if options.json is not None:
        rows = [line.as_json(family) for family, lines in measured.items() for line in lines]
        result = {"machine": before, "load_after": machine()["load"], "quick": options.quick, "lines": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure speed and memory.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and jobs, for a first impression")
    parser.add_argument("--only", action="append", choices=list(FAMILIES), metavar="NAME", help=", ".join(FAMILIES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    return parser.parse_args(argv)


def _leave(number: int, frame: FrameType | None) -> None:
    # Exit by an exception, so that servers and workers are stopped.
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(main())
