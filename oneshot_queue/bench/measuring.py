"""Measure what was asked for, family by family, near the broker and far from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from oneshot_queue.bench import enqueueing, interrupts, latency, memory, output, recovery, throughput
from oneshot_queue.bench.figures import Line
from oneshot_queue.bench.fleet import Place, a_fleet_at
from oneshot_queue.bench.proxy import delayed
from oneshot_queue.bench.sizes import Sizes

Family = Callable[[Place, Sizes], Iterable[Line]]

FAMILIES: Final[dict[str, Family]] = {
    "throughput": throughput.measure,
    "enqueueing": enqueueing.measure,
    "latency": latency.measure,
    "interrupts": interrupts.measure,
    "recovery": recovery.measure,
    "output": output.measure,
    "memory": memory.measure,
}
ONLY_NEAR: Final = ("memory",)
"""No distance changes them."""


@dataclass(frozen=True, slots=True)
class Section:
    """What one family gave.

    Attributes:
        rtt_s: How much longer each round trip to the broker took than it does by itself, in seconds.
    """

    family: str
    rtt_s: float
    lines: Sequence[Line]

    @property
    def title(self) -> str:
        """For people."""
        return self.family if not self.rtt_s else f"{self.family}, each round trip {self.rtt_s * 1e3:g} ms longer"

    def as_json(self) -> list[dict[str, object]]:
        """For programs."""
        return [line.as_json(self.family) | {"rtt_ms": self.rtt_s * 1e3} for line in self.lines]


def measured(url: str, families: Sequence[str], rtts_s: Sequence[float], sizes: Sizes) -> Iterator[Section]:
    """Measure on a broker, in namespaces that are gone afterwards.

    Args:
        url: The broker's.
        families: Which of ``FAMILIES``.
        rtts_s: What round trips are to take longer, in seconds, one after another, the shortest first.
        sizes: How much of everything.

    Raises:
        MeasurementSpoilt: What was measured is not what should have been.
        BrokerError: The broker is out of reach or refuses.
        ValueError: There is no way to be far from a broker of this kind.
    """
    for family in families:
        near: Sequence[Line] = ()
        for rtt_s in sorted(rtts_s):
            if rtt_s and family in ONLY_NEAR:
                continue
            lines = list(_at_distance(url, family, rtt_s, sizes))
            if rtt_s:
                # The marks are for a broker that is near.
                yield Section(family, rtt_s, [*(replace(line, target=None) for line in lines), *_compared(near, lines)])
            else:
                near = lines
                yield Section(family, rtt_s, lines)


def _at_distance(url: str, family: str, rtt_s: float, sizes: Sizes) -> Iterator[Line]:
    if not rtt_s:
        yield from FAMILIES[family](partial(a_fleet_at, url), sizes)
        return
    with delayed(url, rtt_s) as longer_way:
        yield from FAMILIES[family](partial(a_fleet_at, longer_way), sizes)


def _compared(near: Sequence[Line], far: Sequence[Line]) -> Iterator[Line]:
    values = {line.name: line.value for line in near if line.unit == throughput.UNIT}
    for line in far:
        if line.unit == throughput.UNIT and line.name in values and line.name in throughput.AFAR_TARGETS:
            ratio = line.value / values[line.name]
            yield Line(line.name, ratio, "of that without", target=throughput.AFAR_TARGETS[line.name])
