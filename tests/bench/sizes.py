"""How much is measured of what needs a server of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from oneshot_queue.bench import sizes


@dataclass(frozen=True, slots=True)
class Sizes(sizes.Sizes):
    """Numbers of what ``oneshot-queue bench`` measures too, and of what only ``make bench`` does.

    Attributes:
        losses: Hosts that are lost, and interrupts of workers that hear no announcement.
        naps: Commands that sleep, for ``run_commands``.
        trues: Commands that do nothing, for ``run_commands``.
        waiting: Jobs that wait where there are many.
        held: Jobs that run where there are many.
        workers: Workers on one queue where there are many.
        flood_mb: MB that many jobs write together.
        followers: How many of those are followed.
    """

    losses: int
    naps: int
    trues: int
    waiting: int
    held: int
    workers: int
    flood_mb: int
    followers: int


FULL: Final = Sizes(
    **asdict(sizes.FULL),
    losses=5,
    naps=40,
    trues=500,
    waiting=1_000_000,
    held=10_000,
    workers=50,
    flood_mb=1_000,
    followers=10,
)
QUICK: Final = Sizes(
    **asdict(sizes.QUICK),
    losses=1,
    naps=16,
    trues=100,
    waiting=20_000,
    held=2_000,
    workers=5,
    flood_mb=100,
    followers=2,
)
