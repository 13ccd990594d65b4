"""How much is measured by the families that need a server of their own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from oneshot_queue.bench import sizes


@dataclass(frozen=True, slots=True)
class Sizes(sizes.Sizes):
    """The sizes of ``oneshot-queue bench``, and those of the families that only ``make bench`` has.

    Attributes:
        losses: Hosts that are lost, and interrupts of workers without pub/sub.
        naps: Commands that sleep, for ``run_commands``.
        trues: Commands that run ``true``, for ``run_commands``.
        waiting: Waiting jobs in the scale family.
        held: Running jobs in the scale family.
        workers: Workers on one queue in the scale family.
        flood_mb: MB that many jobs write in total.
        followers: How many of those jobs are followed.
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
