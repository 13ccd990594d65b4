"""Turns: every peer that is there takes one in each round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from oneshot_queue.bench.figures import MeasurementSpoilt
from tests.bench.peers.peer import Peer, PeerMissing, Turn, Work


@dataclass(slots=True)
class Standing:
    """What is known of one peer.

    Attributes:
        setup: How it was set up.
        missing: Why it was not measured; ``None`` if it was.
        turns: One for each round.
    """

    name: str
    version: str = ""
    setup: str = ""
    missing: str | None = None
    turns: list[Turn] = field(default_factory=list)

    def rates(self, work: Work) -> list[float]:
        """Commands a second, round by round."""
        return [work.commands / turn.took_s for turn in self.turns]

    def ratios(self, base: Standing) -> list[float]:
        """How fast it was, in terms of another in the same round."""
        return [theirs.took_s / own.took_s for own, theirs in zip(self.turns, base.turns, strict=True)]

    def used_us(self, work: Work) -> float:
        """CPU a command, in the median round."""
        return statistics.median(turn.used_s for turn in self.turns) / work.commands * 1e6


def take_turns(peers: Sequence[Peer], work: Work, rounds: int, *, tell: Callable[[str], None]) -> list[Standing]:
    """Let the peers that are there take turns.

    Args:
        peers: In the order in which they take them.
        work: What each does in its turn.
        rounds: How many turns each has.
        tell: Hears how it goes on.

    Raises:
        MeasurementSpoilt: A peer did not do its work; the message says which.
    """
    standings = [_introduced(peer, tell) for peer in peers]
    for number in range(1, rounds + 1):
        for peer, standing in zip(peers, standings, strict=True):
            if standing.missing is not None:
                continue
            try:
                turn = peer.take_turn(work)
            except (MeasurementSpoilt, AssertionError) as problem:
                raise MeasurementSpoilt(f"{peer.name}: {problem}") from problem
            standing.turns.append(turn)
            tell(f"round {number} of {rounds}: {peer.name} {work.commands / turn.took_s:,.0f}/s")
    return standings


def _introduced(peer: Peer, tell: Callable[[str], None]) -> Standing:
    try:
        version, setup = peer.describe()
    except PeerMissing as reason:
        tell(f"{peer.name}: not measured: {reason}")
        return Standing(peer.name, missing=str(reason))
    return Standing(peer.name, version, setup)
