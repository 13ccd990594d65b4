"""One measured value, and how it is made from many samples. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

_MIN_SAMPLES: Final = 2
"""Fewer have no percentiles."""


class MeasurementSpoilt(Exception):
    """What was measured is not what should have been: a job ended otherwise, a worker died, nothing moves."""


@dataclass(frozen=True, slots=True)
class Target:
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
    target: Target | None = None

    @property
    def is_kept(self) -> bool | None:
        """Whether the mark is kept; ``None`` without one."""
        return None if self.target is None else self.target.is_kept_by(self.value)

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
            "mark": None
            if self.target is None
            else {"at_least" if self.target.is_floor else "at_most": self.target.bound},
            "kept": self.is_kept,
        }


def median_of(values: Sequence[float], name: str, unit: str, target: Target | None = None) -> Line:
    """A line for what was measured once a round."""
    return Line(name, statistics.median(values), unit, (min(values), max(values)), target)


def median_and_longest_of(spans_s: Sequence[float], name: str, target: Target) -> list[Line]:
    """Two lines for some samples in seconds. The longest has the mark: a promise binds every time."""
    return [
        median_of(spans_s, f"{name}, p50", "s"),
        Line(f"{name}, longest of {len(spans_s)}", max(spans_s), "s", target=target),
    ]


def quantiles_of(
    spans_s: Sequence[float], name: str, p50_mark: Target | None = None, p99_mark: Target | None = None
) -> list[Line]:
    """Two lines, p50 and p99, in milliseconds, for many samples in seconds."""
    assert len(spans_s) >= _MIN_SAMPLES, f"{name}: {len(spans_s)} samples"
    cuts = statistics.quantiles((span * 1e3 for span in spans_s), n=100, method="inclusive")
    return [
        Line(f"{name}, p50 of {len(spans_s)}", cuts[49], "ms", target=p50_mark),
        Line(f"{name}, p99", cuts[98], "ms", target=p99_mark),
    ]


def number(value: float) -> str:
    """A value for people, with about three digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
