"""``run_commands``, without Redis: in parallel, next to one after another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, median_of
from oneshot_queue.bench.fleet import TRUE
from oneshot_queue.states import JobState
from oneshot_queue.workers.orchestrator import run_commands
from tests.bench.sizes import Sizes

NAP_S = 0.05


def measure(sizes: Sizes) -> Iterator[Line]:
    """Measure commands that sleep, and commands that do nothing."""
    yield from _compared([("/bin/sleep", str(NAP_S))] * sizes.naps, f"{sizes.naps} sleep {NAP_S}", 8, sizes.rounds)
    yield from _compared([TRUE] * sizes.trues, f"{sizes.trues} true", 4, sizes.rounds)


def _compared(commands: Sequence[Sequence[str]], name: str, parallel: int, rounds: int) -> Iterator[Line]:
    spans: dict[int, list[float]] = {1: [], parallel: []}
    for _ in range(rounds):
        for at_once, of_kind in spans.items():
            of_kind.append(_span(commands, at_once))
    yield median_of(spans[1], f"run_commands, {name}, one after another", "s")
    yield median_of(spans[parallel], f"run_commands, {name}, {parallel} at once", "s")
    gains = [one / many for one, many in zip(spans[1], spans[parallel], strict=True)]
    yield median_of(gains, f"run_commands, {name}, gain", "times")


def _span(commands: Sequence[Sequence[str]], at_once: int) -> float:
    began = time.perf_counter()
    outcomes = run_commands(commands, max_concurrent=at_once)
    took_s = time.perf_counter() - began
    if [outcome.state for outcome in outcomes] != [JobState.COMPLETED] * len(commands):
        raise MeasurementSpoilt("not every command of run_commands succeeded")
    return took_s
