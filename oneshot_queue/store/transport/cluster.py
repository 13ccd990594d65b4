"""The directory of a cluster: its slot table, read from any node and corrected by redirections."""

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
from oneshot_queue.store.transport.routes import ConnectionFailed, Exchange, KeepOnly, Replied, Steps

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
        # Newer than the table. Replaced, never modified: another thread may be iterating over it.
        self._moved: Mapping[int, Peer] = {}
        self._is_stale = True

    @property
    def is_current(self) -> bool:
        """Whether the table has not been contradicted since it was read."""
        return not self._is_stale

    def look_up(self) -> Steps:
        """Read the table from the first node that answers.

        Raises:
            BrokerError: No node answers, or none is part of a cluster.
        """
        known = random.sample(self._nodes, len(self._nodes))
        problem: Exception | None = None
        for peer in dict.fromkeys([*self._moved.values(), *known, *self._seeds]):
            result = yield Exchange(peer, [_QUESTION])
            match result:
                case Replied(_, [list() as rows]):
                    self._replace_table(rows, peer)
                    yield KeepOnly(frozenset(self._nodes))
                    return
                case Replied(_, [Exception() as refusal]):
                    problem = refusal
                case ConnectionFailed(error):
                    problem = problem or error
        raise self._failure(problem)

    def peer_of(self, key: Word | None) -> Peer | None:
        """Return the node that serves a key, or ``None`` if unknown; for the key ``None``, any node."""
        if key is None:
            return random.choice(self._nodes) if self._nodes else None
        raw = key if isinstance(key, bytes) else str(key).encode()
        return self._slots[key_slot(raw)] if self._slots else None

    def invalidate(self) -> None:
        """Read the table again before the next call: a node failed, and others may know its successor."""
        self._is_stale = True

    def redirect(self, refusal: Exception, asked: Peer) -> Peer | None:
        """Learn from MOVED which node serves a slot now; return the node that ASK names for this call."""
        if not isinstance(refusal, exceptions.AskError):
            # After other refusals, a failover may have changed the table. TRYAGAIN comes from the right node.
            self._is_stale = self._is_stale or code_of(refusal) != "TRYAGAIN"
            return None
        target = Peer(refusal.host or asked.host, refusal.port)
        if not isinstance(refusal, exceptions.MovedError):
            return target
        if 0 <= refusal.slot_id < SLOTS:
            self._moved = {**self._moved, refusal.slot_id: target}
        self._is_stale = True
        return None

    def _replace_table(self, rows: list[Any], source: Peer) -> None:
        slots: list[Peer | None] = [None] * SLOTS
        for row in rows:
            match row:
                case [int() as first, int() as last, [host, int() as port, *_], *_] if port in _PORTS:
                    # A node that does not know its own address leaves it out: use the address where it answered.
                    peer = Peer(text(host) if host and host != b"?" else source.host, port)
                    for slot in range(max(first, 0), min(last, SLOTS - 1) + 1):
                        slots[slot] = peer
        moved, self._moved = self._moved, {}
        for slot, peer in moved.items():
            slots[slot] = peer
        self._slots, self._nodes = slots, tuple(dict.fromkeys(peer for peer in slots if peer))
        self._is_stale = False

    def _failure(self, problem: Exception | None) -> BrokerError:
        return broker_error(self._url, problem or ConnectionError("no node of the cluster is known"))
