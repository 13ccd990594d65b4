"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of rounds, jobs and samples.

    Attributes:
        rounds: Times that whatever takes turns gets its turn.
        commands: Commands of one throughput measurement.
        warm_up: Jobs that workers run before a clock starts.
        enqueued: Jobs of one ``enqueue_many``.
        enqueues: Samples of a single ``enqueue``, and of a bare round trip.
        results: Samples from ``enqueue`` to the result.
        lines: Samples of lines that are followed.
        interrupts: Samples from ``interrupt`` to the death of the group.
        running: Jobs that run at once while a worker's memory is read.
        stored: Jobs in Redis while its memory is read.
        kills: Workers that are killed.
        losses: Hosts that are lost, and interrupts of workers that hear no announcement.
        naps: Commands that sleep, for ``run_commands``.
        trues: Commands that do nothing, for ``run_commands``.
        written_mb: MB that one job writes.
        waiting: Jobs that wait where there are many.
        held: Jobs that run where there are many.
        workers: Workers on one queue where there are many.
        flood_mb: MB that many jobs write together.
        followers: How many of those are followed.
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
    losses: int
    naps: int
    trues: int
    written_mb: int
    waiting: int
    held: int
    workers: int
    flood_mb: int
    followers: int


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
    losses=5,
    naps=40,
    trues=500,
    written_mb=100,
    waiting=1_000_000,
    held=10_000,
    workers=50,
    flood_mb=1_000,
    followers=10,
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
    losses=1,
    naps=16,
    trues=100,
    written_mb=20,
    waiting=20_000,
    held=2_000,
    workers=5,
    flood_mb=100,
    followers=2,
)
