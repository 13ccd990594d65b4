"""What a peer is, the work that it does, and the measurement of one turn."""

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
    """The work of one turn.

    Attributes:
        commands: Commands while the clock runs.
        warm_up: Commands before that.
    """

    commands: int
    warm_up: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The measurement of one turn.

    Attributes:
        took_s: Seconds from the first enqueue to the last stored result.
        used_s: CPU time of all processes that took part, in seconds.
    """

    took_s: float
    used_s: float


class PeerMissing(Exception):
    """A peer is not available, and cannot be installed; the message says why."""


class Peer(Protocol):
    """A system that is compared."""

    @property
    def name(self) -> str:
        """Its name in the table."""

    def describe(self) -> tuple[str, str]:
        """Its version and set-up.

        Raises:
            PeerMissing: It is not available.
        """

    def take_turn(self, work: Work) -> Turn:
        """Start afresh, and do the work once.

        Raises:
            MeasurementSpoilt: The work was not done completely or correctly.
        """


def check(outcomes: Counter[Outcome], commands: int) -> None:
    """Check that every command exited with 0 and wrote nothing.

    Raises:
        MeasurementSpoilt: One did not, or has no result.
    """
    if outcomes != Counter({(0, "", ""): commands}):
        found = ", ".join(f"{count} times {outcome}" for outcome, count in outcomes.most_common(5)) or "none"
        raise MeasurementSpoilt(f"{commands} results should be (0, '', ''), but the stored ones are: {found}")


def tree_cpu_s(roots: Iterable[int]) -> float:
    """Seconds of CPU time of these processes, their descendants, and the children whose exit those have collected."""
    total, waiting = 0.0, list(roots)
    while waiting:
        pid = waiting.pop()
        try:
            total += sum(cpu_s(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has just exited: its time now counts for its parent.
        waiting.extend(children_of(pid))
    return total
