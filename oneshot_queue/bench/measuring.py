"""Runs the requested families of measurements, near the broker and with added latency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from oneshot_queue.bench import enqueueing, interrupts, latency, memory, output, recovery, throughput
from oneshot_queue.bench.figures import Line
from oneshot_queue.bench.fleet import FleetFactory, open_fleet
from oneshot_queue.bench.proxy import delayed
from oneshot_queue.bench.sizes import Sizes

Family = Callable[[FleetFactory, Sizes], Iterable[Line]]

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
"""Families that latency does not affect."""


@dataclass(frozen=True, slots=True)
class Section:
    """The measured values of one family.

    Attributes:
        family: Its name.
        rtt_s: Latency that was added to each round trip to the broker, in seconds.
        lines: The measured values.
    """

    family: str
    rtt_s: float
    lines: Sequence[Line]

    @property
    def title(self) -> str:
        """The heading above its table."""
        return self.family if not self.rtt_s else f"{self.family}, each round trip {self.rtt_s * 1e3:g} ms longer"

    def as_json(self) -> list[dict[str, object]]:
        """Its values as JSON."""
        return [line.as_json(self.family) | {"rtt_ms": self.rtt_s * 1e3} for line in self.lines]


def measured(url: str, families: Sequence[str], rtts_s: Sequence[float], sizes: Sizes) -> Iterator[Section]:
    """Measure on a broker, in namespaces that are removed at the end.

    Args:
        url: The broker's URL.
        families: Names of ``FAMILIES``.
        rtts_s: Latencies to add to each round trip, in seconds; each family is measured with each of them.
        sizes: How much to measure.

    Yields:
        For each family, a section for each latency, the lowest first.

    Raises:
        MeasurementSpoilt: A job ended differently than expected, a worker died, or the queue is stuck.
        BrokerError: The broker cannot be reached or refuses.
        ValueError: Latency cannot be added to a broker of this kind.
    """
    for family in families:
        near: Sequence[Line] = ()
        for rtt_s in sorted(rtts_s):
            if rtt_s and family in ONLY_NEAR:
                continue
            lines = list(_at_distance(url, family, rtt_s, sizes))
            if rtt_s:
                # The targets apply to a broker nearby.
                yield Section(family, rtt_s, [*(replace(line, target=None) for line in lines), *_compared(near, lines)])
            else:
                near = lines
                yield Section(family, rtt_s, lines)


def _at_distance(url: str, family: str, rtt_s: float, sizes: Sizes) -> Iterator[Line]:
    if not rtt_s:
        yield from FAMILIES[family](partial(open_fleet, url), sizes)
        return
    with delayed(url, rtt_s) as proxy_url:
        yield from FAMILIES[family](partial(open_fleet, proxy_url), sizes)


def _compared(near: Sequence[Line], far: Sequence[Line]) -> Iterator[Line]:
    values = {line.name: line.value for line in near if line.unit == throughput.UNIT}
    for line in far:
        if line.unit == throughput.UNIT and line.name in values and line.name in throughput.FAR_TARGETS:
            ratio = line.value / values[line.name]
            yield Line(line.name, ratio, "of the rate nearby", target=throughput.FAR_TARGETS[line.name])
