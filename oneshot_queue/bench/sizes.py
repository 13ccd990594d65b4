"""How much is measured: numbers of rounds, jobs and samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of rounds, jobs and samples.

    Attributes:
        rounds: Rounds of measurements that take turns.
        commands: Commands of one throughput measurement.
        warm_up: Jobs that workers run before the clock starts.
        enqueued: Jobs of one ``enqueue_many``.
        enqueues: Samples of a single ``enqueue``, and of a bare round trip.
        results: Samples from ``enqueue`` to the result.
        lines: Samples of followed lines of output.
        interrupts: Samples from ``interrupt`` to the exit of the process group.
        running: Jobs that run at once while a worker's memory is read.
        stored: Jobs in Redis while its memory is read.
        kills: Workers that are killed.
        written_mb: MB that one job writes.
    """

    rounds: int
    commands: int
    warm_up: int
    enqueued: int
    enqueues: int
    results: int
    lines: int
    interrupts: int
    running: int
    stored: int
    kills: int
    written_mb: int


FULL: Final = Sizes(
    rounds=5,
    commands=4_000,
    warm_up=100,
    enqueued=20_000,
    enqueues=1_000,
    results=300,
    lines=100,
    interrupts=150,
    running=200,
    stored=5_000,
    kills=10,
    written_mb=100,
)
QUICK: Final = Sizes(
    rounds=2,
    commands=1_000,
    warm_up=50,
    enqueued=5_000,
    enqueues=200,
    results=100,
    lines=30,
    interrupts=50,
    running=100,
    stored=1_000,
    kills=3,
    written_mb=20,
)
