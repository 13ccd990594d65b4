"""Faults of a wire: to the next reply with a given pattern, or to all bytes of some connections for a while."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.support.waiting import TIMEOUT_S


class Direction(enum.Enum):
    """The direction in which bytes travel."""

    REQUESTS = enum.auto()
    REPLIES = enum.auto()


BOTH_DIRECTIONS: Final = frozenset(Direction)


@dataclass(eq=False)
class Connection:
    """One client's connection through the wire.

    Attributes:
        number: Its number; the first connection through a wire is 1.
        requests: The first bytes that the client sent.
        dead_directions: Directions in which bytes were lost. Nothing passes there afterwards: the client would take the
            next reply for the lost one.
    """

    number: int
    requests: bytes = b""
    dead_directions: set[Direction] = field(default_factory=set)

    def has_sent(self, words: bytes) -> bool:
        """Whether the client sent these bytes among its first ones."""
        return words in self.requests


Condition = Callable[[Connection], bool]


def all_connections(_: Connection) -> bool:
    """Select every connection."""
    return True


def subscribers(connection: Connection) -> bool:
    """Select the connections that subscribed to a channel."""
    return connection.has_sent(b"SUBSCRIBE")


@dataclass(eq=False)
class ReplyFault:
    """A fault of the next reply that contains a pattern.

    Attributes:
        pattern: The bytes to look for.
        holds: Hold the reply back until ``release``. Otherwise the reply is lost and its connection is cut.
        happened: Set once it happened.
    """

    pattern: bytes
    holds: bool
    happened: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def assert_happened(self) -> None:
        """Wait until it happened; fail if it does not."""
        assert self.happened.wait(TIMEOUT_S), f"the fault did not happen: no reply contained {self.pattern!r}"

    def release(self) -> None:
        """Deliver the reply that is held back."""
        self._released.set()

    def wait_for_release(self) -> None:
        """Wait until the reply may be delivered."""
        self._released.wait(TIMEOUT_S)


@dataclass(eq=False)
class WireFault:
    """A fault of all bytes of some connections, from ``Wire.impair`` to ``Wire.repair``.

    Attributes:
        directions: The directions that are affected.
        on: Selects the connections that are affected.
        delay_s: Delay of each packet.
        drops: Bytes vanish silently and the connection stays open. It never works again, even after the repair.
        holds: Bytes wait until the repair, and are delivered then.
        packet_bytes: Size of the pieces in which bytes are delivered.
        bytes_per_s: Bandwidth of each connection.
        resets_after_bytes: Number of bytes of a packet to deliver before the connection is reset.
        fired: Number of packets that were affected so far.
        happened: Set once a packet was affected.
        over: Set by the repair.
    """

    directions: frozenset[Direction] = BOTH_DIRECTIONS
    on: Condition = all_connections
    delay_s: float = 0.0
    drops: bool = False
    holds: bool = False
    packet_bytes: int | None = None
    bytes_per_s: float | None = None
    resets_after_bytes: int | None = None
    fired: int = 0
    happened: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def assert_happened(self, *, times: int = 1) -> None:
        """Wait until it affected a packet; fail if it does not, or affected fewer than ``times``."""
        assert self.happened.wait(TIMEOUT_S), f"the fault did not happen: no packet passed for {self!r}"
        assert self.fired >= times, f"the fault happened only {self.fired} times: {self!r}"


def latency(each_way_s: float, *, on: Condition = all_connections) -> WireFault:
    """Delay every packet."""
    return WireFault(on=on, delay_s=each_way_s)


def half_open(*, on: Condition = all_connections) -> WireFault:
    """Drop everything in both directions and keep the connection open, as a firewall that lost its state."""
    return WireFault(on=on, drops=True)


def lost_replies(*, on: Condition = all_connections) -> WireFault:
    """Drop all replies: the server receives and executes requests, but clients get no reply."""
    return WireFault(frozenset({Direction.REPLIES}), on=on, drops=True)


def lost_requests(*, on: Condition = all_connections) -> WireFault:
    """Drop all requests; replies would still pass."""
    return WireFault(frozenset({Direction.REQUESTS}), on=on, drops=True)


def stalled(*, on: Condition = all_connections) -> WireFault:
    """Hold everything back until the repair, and deliver it then."""
    return WireFault(on=on, holds=True)


def fragmented(packet_bytes: int = 1, *, on: Condition = all_connections) -> WireFault:
    """Deliver everything in pieces, by default of one byte."""
    return WireFault(on=on, packet_bytes=packet_bytes)


def low_bandwidth(bytes_per_s: float, *, on: Condition = all_connections) -> WireFault:
    """Limit the bandwidth of each connection."""
    return WireFault(on=on, bytes_per_s=bytes_per_s)


def resets(after_bytes: int = 0, *, on: Condition = all_connections) -> WireFault:
    """Break each reply off after some bytes, and reset its connection."""
    return WireFault(frozenset({Direction.REPLIES}), on=on, resets_after_bytes=after_bytes)
