"""What can happen on a wire: to one reply with a mark in it, or to all that passes for as long as it lasts."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.support.waiting import LIMIT_S


class Way(enum.Enum):
    """Which way bytes go."""

    REQUESTS = enum.auto()
    REPLIES = enum.auto()


BOTH_WAYS: Final = frozenset(Way)


@dataclass(eq=False)
class Connection:
    """One client's connection through the wire, known by what it has asked for so far.

    Attributes:
        dead_ways: Where bytes were lost: none may follow, or the next answer would be taken for the lost one.
    """

    number: int
    requests: bytes = b""
    dead_ways: set[Way] = field(default_factory=set)

    def has_said(self, words: bytes) -> bool:
        """Whether it sent this, among the first bytes it sent."""
        return words in self.requests


Condition = Callable[[Connection], bool]


def everybody(_: Connection) -> bool:
    """Every connection."""
    return True


def subscribers(connection: Connection) -> bool:
    """Connections that subscribed to a channel."""
    return connection.has_said(b"SUBSCRIBE")


@dataclass(eq=False)
class Fault:
    """What is to become of the next reply with a mark in it.

    Attributes:
        holds: Keep it back until ``release``; else it is lost and its connection cut.
        struck: Set once it happened.
    """

    mark: bytes
    holds: bool
    struck: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def assert_struck(self) -> None:
        """Wait until it happened, and fail if it does not."""
        assert self.struck.wait(LIMIT_S), f"the fault did not happen: no reply with {self.mark!r} in it came by"

    def release(self) -> None:
        """Let what is held back go on."""
        self._released.set()

    def wait_for_release(self) -> None:
        """Wait until it may go on."""
        self._released.wait(LIMIT_S)


@dataclass(eq=False)
class Trouble:
    """What happens to all bytes of some connections, from ``Wire.inflict`` to ``Wire.mend``.

    Attributes:
        ways: Which of the two directions it is about.
        on: Which connections it is about.
        delay_s: How late bytes arrive.
        is_lossy: Bytes vanish; the connection stays, and nobody is told. It never works again, the trouble over or not.
        holds: Bytes wait until the trouble is over, then go on.
        packet_bytes: Bytes go on in pieces of this size.
        bytes_per_s: No more than this goes through a connection.
        resets_after_bytes: So much of a packet goes on, then the connection is reset.
        fired: How many packets it has struck.
    """

    ways: frozenset[Way] = BOTH_WAYS
    on: Condition = everybody
    delay_s: float = 0.0
    is_lossy: bool = False
    holds: bool = False
    packet_bytes: int | None = None
    bytes_per_s: float | None = None
    resets_after_bytes: int | None = None
    fired: int = 0
    struck: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def assert_struck(self, *, times: int = 1) -> None:
        """Wait until it has struck, and fail if it does not or not so often."""
        assert self.struck.wait(LIMIT_S), f"the fault did not happen: nothing came by for {self!r}"
        assert self.fired >= times, f"the fault happened only {self.fired} times: {self!r}"


def latency(each_way_s: float, *, on: Condition = everybody) -> Trouble:
    """Everything arrives late."""
    return Trouble(on=on, delay_s=each_way_s)


def half_open(*, on: Condition = everybody) -> Trouble:
    """Everything vanishes both ways, and the connection stays: what a firewall does that forgot it."""
    return Trouble(on=on, is_lossy=True)


def lost_replies(*, on: Condition = everybody) -> Trouble:
    """The server hears and does what it is asked, and nobody hears the server."""
    return Trouble(frozenset({Way.REPLIES}), on=on, is_lossy=True)


def lost_requests(*, on: Condition = everybody) -> Trouble:
    """The server is asked nothing any more, although it could be heard."""
    return Trouble(frozenset({Way.REQUESTS}), on=on, is_lossy=True)


def standstill(*, on: Condition = everybody) -> Trouble:
    """Everything waits until the trouble is over, and arrives then."""
    return Trouble(on=on, holds=True)


def crumbs(packet_bytes: int = 1, *, on: Condition = everybody) -> Trouble:
    """Everything arrives in pieces of one byte."""
    return Trouble(on=on, packet_bytes=packet_bytes)


def narrow(bytes_per_s: float, *, on: Condition = everybody) -> Trouble:
    """Not much goes through at a time."""
    return Trouble(on=on, bytes_per_s=bytes_per_s)


def resets(after_bytes: int = 0, *, on: Condition = everybody) -> Trouble:
    """Each reply is broken off after so many bytes, and its connection reset."""
    return Trouble(frozenset({Way.REPLIES}), on=on, resets_after_bytes=after_bytes)
