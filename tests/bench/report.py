"""What was measured, as lines for people and as JSON."""

# ruff: noqa: T201 - a benchmark prints

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from tests.servers import kinds_for

_NAME_WIDTH: Final = 76
_VALUE_WIDTH: Final = 18
_SPREAD_WIDTH: Final = 19
_MARK_WIDTH: Final = 18
_MIN_SAMPLES: Final = 2
"""Fewer have no percentiles."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A bound that a value should keep to."""

    bound: float
    is_floor: bool

    @classmethod
    def at_least(cls, bound: float) -> Self:
        """More is better."""
        return cls(bound, is_floor=True)

    @classmethod
    def at_most(cls, bound: float) -> Self:
        """Less is better."""
        return cls(bound, is_floor=False)

    def is_kept_by(self, value: float) -> bool:
        """Whether the value is on the right side."""
        return value >= self.bound if self.is_floor else value <= self.bound


@dataclass(frozen=True, slots=True)
class Line:
    """One measured value.

    Attributes:
        unit: As it is printed behind the value.
        spread: The lowest and the highest of what the value is the median of, where it is one.
        mark: The bound, for a value that has one; the others are for information.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float] | None = None
    mark: Mark | None = None

    @property
    def is_kept(self) -> bool | None:
        """Whether the mark is kept; ``None`` without one."""
        return None if self.mark is None else self.mark.is_kept_by(self.value)

    def as_json(self, family: str) -> dict[str, object]:
        """The same for programs."""
        low, high = self.spread or (None, None)
        return {
            "family": family,
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "low": low,
            "high": high,
            "mark": None if self.mark is None else {"at_least" if self.mark.is_floor else "at_most": self.mark.bound},
            "kept": self.is_kept,
        }


def median_of(values: Sequence[float], name: str, unit: str, mark: Mark | None = None) -> Line:
    """A line for what was measured once a round."""
    return Line(name, statistics.median(values), unit, (min(values), max(values)), mark)


def quantiles_of(spans_s: Sequence[float], name: str, mark: Mark | None = None) -> list[Line]:
    """Two lines, p50 (which has the mark) and p99, in milliseconds, for many samples in seconds."""
    assert len(spans_s) >= _MIN_SAMPLES, f"{name}: {len(spans_s)} samples"
    cuts = statistics.quantiles((span * 1e3 for span in spans_s), n=100, method="inclusive")
    return [Line(f"{name}, p50 of {len(spans_s)}", cuts[49], "ms", mark=mark), Line(f"{name}, p99", cuts[98], "ms")]


def machine() -> dict[str, object]:
    """Where it was measured, and how busy that is now."""
    (kind,) = kinds_for(crossed=False)
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "load": [round(each, 2) for each in os.getloadavg()],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "server": f"{kind.name} ({kind.version})",
    }


def print_machine() -> None:
    """The line above the table."""
    found = machine()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(
        f"{found['cpus']} CPUs · load {load} · Python {found['python']} · Linux {found['kernel']} · {found['server']}, "
        f"AOF everysec, unix socket"
    )


def print_lines(family: str, lines: Sequence[Line]) -> None:
    """One measurement's part of the table."""
    print(f"\n{family}")
    for line in lines:
        cells = (
            f"  {line.name:<{_NAME_WIDTH}}",
            f"{_number(line.value)} {line.unit}".ljust(_VALUE_WIDTH),
            _spread(line).ljust(_SPREAD_WIDTH),
            _mark(line).ljust(_MARK_WIDTH),
            {True: "✓", False: "✗", None: ""}[line.is_kept],
        )
        print(" ".join(cells).rstrip(), flush=True)


def print_verdict(lines: Sequence[Line]) -> None:
    """The last line."""
    marked = [line for line in lines if line.mark is not None]
    kept = sum(bool(line.is_kept) for line in marked)
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"\n{kept} of {len(marked)} marks kept · load now {load}")


def _spread(line: Line) -> str:
    return "" if line.spread is None else f"{_number(line.spread[0])} … {_number(line.spread[1])}"


def _mark(line: Line) -> str:
    if line.mark is None:
        return ""
    return f"{'≥' if line.mark.is_floor else '≤'} {_number(line.mark.bound)} {line.unit}"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
