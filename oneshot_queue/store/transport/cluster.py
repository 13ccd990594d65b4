"""Which node of a cluster serves which keys: its own table of slots, read from any node, mended by what nodes say."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from redis import exceptions
from redis.crc import key_slot

from oneshot_queue.errors import BrokerError
from oneshot_queue.store.calls import Word, plain, text
from oneshot_queue.store.transport.addresses import BrokerAddress, Peer
from oneshot_queue.store.transport.refusals import broker_error, code_of
from oneshot_queue.store.transport.routes import Exchange, Failed, Leave, Said, Steps

SLOTS: Final = 16_384
_QUESTION: Final = plain("CLUSTER", "SLOTS", read=lambda reply: reply)
_PORTS: Final = range(1, 65_536)


class Cluster:
    """The directory of a cluster."""

    repeatable = frozenset(
        {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "UNBLOCKED"}
    )

    def __init__(self, broker: BrokerAddress) -> None:
        self._url = broker.url
        self._seeds = broker.peers
        self._slots: list[Peer | None] = []
        self._nodes: tuple[Peer, ...] = ()
        # Newer than the table. Replaced and never changed: while one thread goes through it another may learn of more.
        self._moved: Mapping[int, Peer] = {}
        self._is_stale = True

    @property
    def is_current(self) -> bool:
        """Whether nothing speaks against the table."""
        return not self._is_stale

    def look_up(self) -> Steps:
        """Read the table from whoever answers first.

        Raises:
            BrokerError: Nobody answers, or not as a node of a cluster does.
        """
        known = random.sample(self._nodes, len(self._nodes))
        problem: Exception | None = None
        for peer in dict.fromkeys([*self._moved.values(), *known, *self._seeds]):
            came = yield Exchange(peer, [_QUESTION])
            match came:
                case Said(_, [list() as rows]):
                    self._take_in(rows, peer)
                    yield Leave(frozenset(self._nodes))
                    return
                case Said(_, [Exception() as refusal]):
                    problem = refusal
                case Failed(error):
                    problem = problem or error
        raise self._failure(problem)

    def home(self, key: Word | None) -> Peer | None:
        """Who serves a key; anybody, where there is none."""
        if key is None:
            return random.choice(self._nodes) if self._nodes else None
        raw = key if isinstance(key, bytes) else str(key).encode()
        return self._slots[key_slot(raw)] if self._slots else None

    def doubt(self) -> None:
        """A node does not answer: others may know who serves in its place."""
        self._is_stale = True

    def redirect(self, refusal: Exception, asked: Peer) -> Peer | None:
        """Learn from MOVED where a slot lives now, and from ASK where to look for once."""
        if not isinstance(refusal, exceptions.AskError):
            # A part without a node gets one by a failover; one that moves is told of by the node that had it.
            self._is_stale = self._is_stale or code_of(refusal) != "TRYAGAIN"
            return None
        target = Peer(refusal.host or asked.host, refusal.port)
        if not isinstance(refusal, exceptions.MovedError):
            return target
        if 0 <= refusal.slot_id < SLOTS:
            self._moved = {**self._moved, refusal.slot_id: target}
        self._is_stale = True
        return None

    def _take_in(self, rows: list[Any], teller: Peer) -> None:
        slots: list[Peer | None] = [None] * SLOTS
        for row in rows:
            match row:
                case [int() as first, int() as last, [host, int() as port, *_], *_] if port in _PORTS:
                    # A node that does not know its own address leaves it out: it is where it was asked.
                    peer = Peer(text(host) if host and host != b"?" else teller.host, port)
                    for slot in range(max(first, 0), min(last, SLOTS - 1) + 1):
                        slots[slot] = peer
        moved, self._moved = self._moved, {}
        for slot, peer in moved.items():
            slots[slot] = peer
        self._slots, self._nodes = slots, tuple(dict.fromkeys(peer for peer in slots if peer))
        self._is_stale = False

    def _failure(self, problem: Exception | None) -> BrokerError:
        return broker_error(self._url, problem or ConnectionError("no node was named"))
