"""Rounds, in each of which every available peer takes one turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from oneshot_queue.bench.figures import MeasurementSpoilt
from tests.bench.peers.peer import Peer, PeerMissing, Turn, Work


@dataclass(slots=True)
class Standing:
    """The measurements of one peer.

    Attributes:
        setup: Its set-up.
        missing: Why it was not measured; ``None`` if it was.
        turns: One for each round.
    """

    name: str
    version: str = ""
    setup: str = ""
    missing: str | None = None
    turns: list[Turn] = field(default_factory=list)

    def rates(self, work: Work) -> list[float]:
        """Commands per second, round by round."""
        return [work.commands / turn.took_s for turn in self.turns]

    def ratios(self, base: Standing) -> list[float]:
        """Its rate relative to another peer, round by round."""
        return [theirs.took_s / own.took_s for own, theirs in zip(self.turns, base.turns, strict=True)]

    def used_us(self, work: Work) -> float:
        """CPU time per command in µs, in the median round."""
        return statistics.median(turn.used_s for turn in self.turns) / work.commands * 1e6


def take_turns(peers: Sequence[Peer], work: Work, rounds: int, *, report: Callable[[str], None]) -> list[Standing]:
    """Let the available peers take turns.

    Args:
        peers: In the order of their turns.
        work: The work of one turn.
        rounds: How many turns each takes.
        report: Receives a line of progress after each turn.

    Raises:
        MeasurementSpoilt: A peer did not do its work; the message names it.
    """
    standings = [_introduced(peer, report) for peer in peers]
    for number in range(1, rounds + 1):
        for peer, standing in zip(peers, standings, strict=True):
            if standing.missing is not None:
                continue
            try:
                turn = peer.take_turn(work)
            except (MeasurementSpoilt, AssertionError) as problem:
                raise MeasurementSpoilt(f"{peer.name}: {problem}") from problem
            standing.turns.append(turn)
            report(f"round {number} of {rounds}: {peer.name} {work.commands / turn.took_s:,.0f}/s")
    return standings


def _introduced(peer: Peer, report: Callable[[str], None]) -> Standing:
    try:
        version, setup = peer.describe()
    except PeerMissing as reason:
        report(f"{peer.name}: not measured: {reason}")
        return Standing(peer.name, missing=str(reason))
    return Standing(peer.name, version, setup)
