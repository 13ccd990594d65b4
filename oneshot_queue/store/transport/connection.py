"""Connections that carry out calls, on one server, a service watched by sentinels, or a cluster.

Each command is sent once. redis-py's clients would repeat it up to ten times after a timeout, and a repeated claim or
XADD is a second one. A caller that repeats a call must expect that the first one was carried out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, assert_never

import anyio
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from oneshot_queue.errors import BrokerUnreachable, QueueClosed
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.transport.addresses import BrokerAddress, BrokerKind, Peer, parse_broker_url
from oneshot_queue.store.transport.async_node import AsyncNode, MeetServer, RunMany
from oneshot_queue.store.transport.cluster import Cluster
from oneshot_queue.store.transport.driver import REPLY_TIMEOUT_S, SENTINEL_TIMEOUT_S, maker_for
from oneshot_queue.store.transport.handshake import Handshake
from oneshot_queue.store.transport.rerouting import Rerouting
from oneshot_queue.store.transport.routes import (
    Backoff,
    ConnectionFailed,
    Direct,
    Exchange,
    KeepOnly,
    Replied,
    Route,
    Steps,
)
from oneshot_queue.store.transport.sentinels import Sentinels
from oneshot_queue.store.transport.server_facts import ServerFacts
from oneshot_queue.store.transport.sync_node import SyncNode

__all__ = ["REPLY_TIMEOUT_S", "AsyncConnection", "RunMany", "SyncConnection"]

T = TypeVar("T")


class AsyncConnection:
    """A few asyncio connections to each server, opened on demand in the event loop that uses them.

    Args:
        reply_timeout_s: Time limit for a block of commands; must exceed the wait of a blocking command.
        tracks_server: Ask the server for ``ServerFacts`` on each new connection, before its first call.
        coalesces: Send calls of one turn of the event loop together; see ``Coalescer``.
    """

    def __init__(
        self,
        url: str,
        *,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        tracks_server: bool = False,
        coalesces: bool = False,
    ) -> None:
        self.url = url
        self.server: ServerFacts | None = None
        """Facts of the server that was connected to last; ``None`` without ``tracks_server``."""
        self._reply_timeout_s = reply_timeout_s
        self._broker = parse_broker_url(url)
        # Our own time limit covers a whole block of commands; the driver's covers each reply.
        options = {"retry": AsyncRetry(NoBackoff(), 0), "socket_timeout": None}
        self._make = maker_for(redis.asyncio.ConnectionPool, self._broker, options)
        self._route = _route_to(self._broker, patience_s=min(reply_timeout_s, REPLY_TIMEOUT_S))
        self._nodes: dict[Peer | None, AsyncNode] = {}
        self._tracks_server = tracks_server
        self._coalesces = coalesces
        self._meet_server: MeetServer | None = None
        self._on_exchange: Callable[[BrokerUnreachable | None], None] | None = None
        self._is_closed = False

    def on_new_server(self, callback: MeetServer) -> None:
        """Call this for every new run of a server, before any other call reaches it; needs ``tracks_server``.

        A new run is the first one, a restarted server, or the new primary after a failover; each node of a cluster has
        its own. The callback gets the server's facts, and a function that carries out calls there. Other calls wait.
        """
        self._meet_server = callback

    def on_exchange(self, callback: Callable[[BrokerUnreachable | None], None]) -> None:
        """Call this after every exchange, with the error if it failed, else ``None``."""
        self._on_exchange = callback

    def facts_of(self, key: Word) -> ServerFacts | None:
        """Return the facts of the server that holds a key, from its last handshake; ``None`` if unknown."""
        node = self._nodes.get(self._route.peer_of(key))
        return None if node is None else node.handshake.facts

    async def run(self, call: Call[T]) -> T:
        """Carry out one call.

        Raises:
            BrokerUnreachable, BrokerRefused: Whether the call was carried out is unknown in the first case.
        """
        (answer,) = await self.run_many([call])
        if isinstance(answer, Exception):
            raise answer
        result: T = answer
        return result

    async def run_many(self, calls: Iterable[Call[Any]]) -> list[Any]:
        """Carry out calls in order, pipelined. The answer of a call that the server refused is the error.

        In a cluster, calls of each queue keep their order. If only some nodes cannot be reached, the error is the
        answer of their calls. A lazy iterable is consumed while the server works on the calls before.

        Raises:
            BrokerUnreachable: The connection failed; which calls were carried out is unknown.
        """
        try:
            answers: list[Any] = await self._drive(self._route.carry_out(calls))
        except BrokerUnreachable as problem:
            if self._on_exchange is not None:
                self._on_exchange(problem)
            raise
        if self._on_exchange is not None:
            self._on_exchange(None)
        return answers

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Any]:
        """Open one of redis-py's connections for one subscriber; it does not count against the limit per server.

        Raises:
            redis.RedisError, OSError, BrokerError: It cannot be opened.
        """
        node = self._node(await self._drive(self._route.find_pubsub_peer()))
        try:
            async with node.dedicated() as connection:
                yield connection
        except (redis.RedisError, OSError):
            self._route.invalidate()
            raise

    async def aclose(self) -> None:
        """Close every connection for good, including those in use."""
        self._is_closed = True
        for node in list(self._nodes.values()):
            await node.aclose()

    async def _drive(self, steps: Steps) -> Any:
        """Perform a route's steps until it returns."""
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._perform(step))
        except StopIteration as end:
            return end.value

    async def _perform(self, step: Exchange | Backoff | KeepOnly) -> Replied | ConnectionFailed | None:
        match step:
            case Exchange(peer, calls):
                return await self._node(peer).exchange(calls)
            case Backoff(seconds):
                await anyio.sleep(seconds)
            case KeepOnly():
                # Remove all before the first await: another task may perform the same step meanwhile.
                for node in [self._nodes.pop(peer) for peer in _retired_peers(self._nodes, step)]:
                    await node.retire()
            case _:
                assert_never(step)
        return None

    def _node(self, peer: Peer | None) -> AsyncNode:
        if self._is_closed:
            raise QueueClosed
        node = self._nodes.get(peer)
        if node is None:
            reply_s = self._reply_timeout_s if peer is None or not peer.is_sentinel else SENTINEL_TIMEOUT_S
            node = self._nodes[peer] = AsyncNode(
                lambda: self._make(peer),
                _handshake_for(peer, self._broker.kind, self.url, asks_for_facts=self._tracks_server),
                reply_timeout_s=reply_s,
                connect_timeout_s=min(reply_s, REPLY_TIMEOUT_S),
                meet_server=self._meet,
                coalesces=self._coalesces,
            )
        return node

    async def _meet(self, facts: ServerFacts, run_many: RunMany) -> None:
        self.server = facts
        if self._meet_server is not None:
            await self._meet_server(facts, run_many)


class SyncConnection:
    """The blocking counterpart of ``AsyncConnection``; threads may share it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._broker = parse_broker_url(url)
        options = {"retry": Retry(NoBackoff(), 0), "socket_timeout": REPLY_TIMEOUT_S}
        self._make = maker_for(redis.ConnectionPool, self._broker, options)
        self._route = _route_to(self._broker, patience_s=REPLY_TIMEOUT_S)
        self._nodes: dict[Peer | None, SyncNode] = {}
        self._lock = threading.Lock()
        self.is_closed = False

    def run(self, call: Call[T]) -> T:
        """Carry out one call.

        Raises:
            BrokerUnreachable, BrokerRefused: Whether the call was carried out is unknown in the first case.
        """
        (answer,) = self.run_many([call])
        if isinstance(answer, Exception):
            raise answer
        result: T = answer
        return result

    def run_many(self, calls: Iterable[Call[Any]]) -> list[Any]:
        """As ``AsyncConnection.run_many``."""
        answers: list[Any] = self._drive(self._route.carry_out(calls))
        return answers

    def listener(self) -> Any:
        """Open one of redis-py's connections for one subscriber, who must close it.

        Raises:
            redis.RedisError, OSError, BrokerError: It cannot be opened.
        """
        try:
            return self._node(self._drive(self._route.find_pubsub_peer())).listener()
        except (redis.RedisError, OSError):
            self._route.invalidate()
            raise

    def close(self) -> None:
        """Close every connection for good; one that another thread is using closes when that thread is done."""
        with self._lock:
            self.is_closed = True
            nodes = list(self._nodes.values())
        for node in nodes:
            node.retire()

    def _drive(self, steps: Steps) -> Any:
        try:
            step = next(steps)
            while True:
                step = steps.send(self._perform(step))
        except StopIteration as end:
            return end.value

    def _perform(self, step: Exchange | Backoff | KeepOnly) -> Replied | ConnectionFailed | None:
        match step:
            case Exchange(peer, calls):
                return self._node(peer).exchange(calls)
            case Backoff(seconds):
                time.sleep(seconds)
            case KeepOnly():
                with self._lock:
                    retired = [self._nodes.pop(peer) for peer in _retired_peers(self._nodes, step)]
                for node in retired:
                    node.retire()
            case _:
                assert_never(step)
        return None

    def _node(self, peer: Peer | None) -> SyncNode:
        with self._lock:
            if self.is_closed:
                raise QueueClosed
            node = self._nodes.get(peer)
            if node is None:
                node = SyncNode(
                    lambda: self._make(peer), _handshake_for(peer, self._broker.kind, self.url, asks_for_facts=False)
                )
                self._nodes[peer] = node
            return node


def _route_to(broker: BrokerAddress, *, patience_s: float) -> Route:
    match broker.kind:
        case BrokerKind.SINGLE:
            return Direct(broker)
        case BrokerKind.SENTINEL:
            return Rerouting(broker.url, Sentinels(broker, time.monotonic), time.monotonic, patience_s=patience_s)
        case BrokerKind.CLUSTER:
            return Rerouting(broker.url, Cluster(broker), time.monotonic, patience_s=patience_s)
        case _:
            assert_never(broker.kind)


def _retired_peers(known: Iterable[Peer | None], step: KeepOnly) -> list[Peer | None]:
    """Return the servers whose connections a step closes."""
    return [peer for peer in known if peer is not None and not peer.is_sentinel and peer not in step.peers]


def _handshake_for(peer: Peer | None, kind: BrokerKind, url: str, *, asks_for_facts: bool) -> Handshake:
    if peer is not None and peer.is_sentinel:
        return Handshake(url)
    return Handshake(url, is_primary_needed=kind is BrokerKind.SENTINEL, asks_for_facts=asks_for_facts)
