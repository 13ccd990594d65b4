"""One measured value, its target, and how it is computed from samples. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

_MIN_SAMPLES: Final = 2
"""Percentiles need at least this many samples."""


class MeasurementSpoilt(Exception):
    """The measurement is invalid: a job ended differently than expected, a worker died, or the queue is stuck."""


@dataclass(frozen=True, slots=True)
class Target:
    """The bound that a value should reach, or stay below.

    Attributes:
        bound: In the unit of the value.
        is_floor: Whether the value should be at least the bound; otherwise at most.
    """

    bound: float
    is_floor: bool

    @classmethod
    def at_least(cls, bound: float) -> Self:
        """For values where more is better."""
        return cls(bound, is_floor=True)

    @classmethod
    def at_most(cls, bound: float) -> Self:
        """For values where less is better."""
        return cls(bound, is_floor=False)

    def is_met_by(self, value: float) -> bool:
        """Whether the value meets the target."""
        return value >= self.bound if self.is_floor else value <= self.bound


@dataclass(frozen=True, slots=True)
class Line:
    """One measured value.

    Attributes:
        name: What was measured.
        value: The value, in ``unit``.
        unit: Printed after the value.
        spread: If the value is a median, the lowest and the highest of its samples.
        target: The target; ``None`` for values that have none and are for information.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float] | None = None
    target: Target | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; ``None`` without a target."""
        return None if self.target is None else self.target.is_met_by(self.value)

    def as_json(self, family: str) -> dict[str, object]:
        """This value as JSON."""
        low, high = self.spread or (None, None)
        return {
            "family": family,
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "low": low,
            "high": high,
            "target": None
            if self.target is None
            else {"at_least" if self.target.is_floor else "at_most": self.target.bound},
            "met": self.is_met,
        }


def median_of(values: Sequence[float], name: str, unit: str, target: Target | None = None) -> Line:
    """A line for a value that was measured once per round."""
    return Line(name, statistics.median(values), unit, (min(values), max(values)), target)


def median_and_longest_of(spans_s: Sequence[float], name: str, target: Target) -> list[Line]:
    """Two lines for a few samples in seconds. The longest one has the target, because the target applies every time."""
    return [
        median_of(spans_s, f"{name}, p50", "s"),
        Line(f"{name}, longest of {len(spans_s)}", max(spans_s), "s", target=target),
    ]


def quantiles_of(
    spans_s: Sequence[float], name: str, p50_target: Target | None = None, p99_target: Target | None = None
) -> list[Line]:
    """Two lines, p50 and p99 in milliseconds, for many samples in seconds."""
    assert len(spans_s) >= _MIN_SAMPLES, f"{name}: {len(spans_s)} samples"
    cuts = statistics.quantiles((span * 1e3 for span in spans_s), n=100, method="inclusive")
    return [
        Line(f"{name}, p50 of {len(spans_s)}", cuts[49], "ms", target=p50_target),
        Line(f"{name}, p99", cuts[98], "ms", target=p99_target),
    ]


def number(value: float) -> str:
    """Format a value with about three digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
