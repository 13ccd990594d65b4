"""What takes part: a peer, and what one turn of it gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from oneshot_queue.bench.figures import MeasurementSpoilt
from oneshot_queue.bench.procfs import cpu_s
from oneshot_queue.workers.processes.procfs import children_of
from tests.bench.peers.driving import Outcome


@dataclass(frozen=True, slots=True)
class Work:
    """How much of it there is.

    Attributes:
        commands: Commands of a turn while the clock runs.
        warm_up: Commands before that.
    """

    commands: int
    warm_up: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn gave.

    Attributes:
        took_s: From the first enqueue to the last stored result.
        used_s: CPU of everything that took part.
    """

    took_s: float
    used_s: float


class PeerMissing(Exception):
    """A peer is not installed here, and cannot be; says why."""


class Peer(Protocol):
    """One of those that are compared."""

    @property
    def name(self) -> str:
        """What people call it."""

    def describe(self) -> tuple[str, str]:
        """Its version, and how it was set up.

        Raises:
            PeerMissing: It is not here.
        """

    def take_turn(self, work: Work) -> Turn:
        """Do the work once, from a fresh start.

        Raises:
            MeasurementSpoilt: Not all of it was done, or not as it should be.
        """


def check(outcomes: Counter[Outcome], commands: int) -> None:
    """Make sure that every command ended with 0 and wrote nothing.

    Raises:
        MeasurementSpoilt: One did not, or has no result.
    """
    if outcomes != Counter({(0, "", ""): commands}):
        found = ", ".join(f"{count} times {outcome}" for outcome, count in outcomes.most_common(5)) or "none"
        raise MeasurementSpoilt(f"{commands} results should be (0, '', ''), but these are stored: {found}")


def tree_cpu_s(roots: Iterable[int]) -> float:
    """CPU so far of these processes, of their descendants, and of what those have waited for."""
    total, waiting = 0.0, list(roots)
    while waiting:
        pid = waiting.pop()
        try:
            total += sum(cpu_s(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has just ended: its parent has its time.
        waiting.extend(children_of(pid))
    return total
