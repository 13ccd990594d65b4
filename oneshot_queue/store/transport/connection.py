"""Connections: how calls reach Redis, be it one server, a service that sentinels watch over, or a cluster.

redis-py parses URLs, logs in, speaks TLS and reads replies; sending is done here, on its connections, because its
clients repeat every command up to ten times after a timeout, and a repeated claim or XADD is a second one. Here a
command is sent once. Whoever wants to repeat it knows that it may have been carried out.
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
from oneshot_queue.store.transport.addresses import BrokerAddress, BrokerKind, Peer, broker_at
from oneshot_queue.store.transport.async_node import AsyncNode, Greet, RunMany
from oneshot_queue.store.transport.cluster import Cluster
from oneshot_queue.store.transport.driver import REPLY_TIMEOUT_S, SENTINEL_TIMEOUT_S, maker_for
from oneshot_queue.store.transport.handshake import Handshake
from oneshot_queue.store.transport.rerouting import Rerouting
from oneshot_queue.store.transport.routes import Direct, Exchange, Failed, Leave, Pause, Route, Said, Steps
from oneshot_queue.store.transport.sentinels import Sentinels
from oneshot_queue.store.transport.server_facts import ServerFacts
from oneshot_queue.store.transport.sync_node import SyncNode

__all__ = ["REPLY_TIMEOUT_S", "AsyncConnection", "RunMany", "SyncConnection"]

T = TypeVar("T")


class AsyncConnection:
    """A few connections for asyncio to each server, made when they are needed, in the loop that uses them.

    Args:
        reply_timeout_s: Seconds that a block of commands may take; a blocking reader needs more than its wait.
        watches_server: Each new connection asks the server for ``ServerFacts`` before it carries its first call.
        gathers: Calls of one turn of the loop go together, see ``Coalescer``.
    """

    def __init__(
        self,
        url: str,
        *,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        watches_server: bool = False,
        gathers: bool = False,
    ) -> None:
        self.url = url
        self.server: ServerFacts | None = None
        """What the server said that was connected to last, if it is watched."""
        self._reply_timeout_s = reply_timeout_s
        self._broker = broker_at(url)
        # Time limits are ours, one for a block: the driver's are for every single reply.
        options = {"retry": AsyncRetry(NoBackoff(), 0), "socket_timeout": None}
        self._make = maker_for(redis.asyncio.ConnectionPool, self._broker, options)
        self._route = _route_to(self._broker, patience_s=min(reply_timeout_s, REPLY_TIMEOUT_S))
        self._nodes: dict[Peer | None, AsyncNode] = {}
        self._watches_server = watches_server
        self._gathers = gathers
        self._watcher: Greet | None = None
        self._on_contact: Callable[[BrokerUnreachable | None], None] | None = None
        self._is_closed = False

    def on_server(self, watcher: Greet) -> None:
        """Have this called whenever another run of a server is met, the first included, before any call reaches it.

        It gets what the server says of itself, and a way to carry out calls there, which all others wait for.

        After a failover that is the new primary. A cluster's nodes are told apart; ``facts_of`` says whose they are.
        Only where ``watches_server`` was asked for.
        """
        self._watcher = watcher

    def on_contact(self, watcher: Callable[[BrokerUnreachable | None], None]) -> None:
        """Have this called after every exchange: with why it failed, or ``None`` if it did not."""
        self._on_contact = watcher

    def facts_of(self, key: Word) -> ServerFacts | None:
        """What the server where a key lives said of itself when it was met last."""
        node = self._nodes.get(self._route.peer_of(key))
        return None if node is None else node.introduction.facts

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
        """Carry out calls in order, pipelined. A call that the server refused has its error as its answer.

        In a cluster the order is that of each queue's calls, and where one node of several cannot be reached, the error
        is the answer of its calls alone. Calls that are made while they are asked for are made while the server works
        on those before.

        Raises:
            BrokerUnreachable: The connection failed; which calls were carried out is unknown.
        """
        try:
            answers: list[Any] = await self._drive(self._route.carry_out(calls))
        except BrokerUnreachable as problem:
            if self._on_contact is not None:
                self._on_contact(problem)
            raise
        if self._on_contact is not None:
            self._on_contact(None)
        return answers

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Any]:
        """One of redis-py's connections, for one user alone, who listens on it; not one of the few.

        Raises:
            redis.RedisError, OSError, BrokerError: It cannot be made.
        """
        node = self._node(await self._drive(self._route.find_listening_post()))
        try:
            async with node.dedicated() as connection:
                yield connection
        except (redis.RedisError, OSError):
            self._route.doubt()
            raise

    async def aclose(self) -> None:
        """Close every connection, also those in use, for good."""
        self._is_closed = True
        for node in list(self._nodes.values()):
            await node.aclose()

    async def _drive(self, steps: Steps) -> Any:
        """Take a route's steps to their end."""
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._take(step))
        except StopIteration as end:
            return end.value

    async def _take(self, step: Exchange | Pause | Leave) -> Said | Failed | None:
        match step:
            case Exchange(peer, calls):
                return await self._node(peer).exchange(calls)
            case Pause(seconds):
                await anyio.sleep(seconds)
            case Leave():
                # All at once: while one is left, another task may take the same step.
                for node in [self._nodes.pop(peer) for peer in _left_behind(self._nodes, step)]:
                    await node.leave()
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
                _handshake_for(peer, self._broker.kind, self.url, asks_for_facts=self._watches_server),
                reply_timeout_s=reply_s,
                connect_timeout_s=min(reply_s, REPLY_TIMEOUT_S),
                meet_server=self._meet,
                gathers=self._gathers,
            )
        return node

    async def _meet(self, facts: ServerFacts, run_many: RunMany) -> None:
        self.server = facts
        if self._watcher is not None:
            await self._watcher(facts, run_many)


class SyncConnection:
    """The same, blocking, and shared by threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._broker = broker_at(url)
        options = {"retry": Retry(NoBackoff(), 0), "socket_timeout": REPLY_TIMEOUT_S}
        self._make = maker_for(redis.ConnectionPool, self._broker, options)
        self._route = _route_to(self._broker, patience_s=REPLY_TIMEOUT_S)
        self._nodes: dict[Peer | None, SyncNode] = {}
        self._changing = threading.Lock()
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
        """One of redis-py's connections, for one user alone, who listens on it, and hangs up.

        Raises:
            redis.RedisError, OSError, BrokerError: It cannot be made.
        """
        try:
            return self._node(self._drive(self._route.find_listening_post())).listener()
        except (redis.RedisError, OSError):
            self._route.doubt()
            raise

    def close(self) -> None:
        """Close every connection for good; one that another thread uses when it comes back."""
        with self._changing:
            self.is_closed = True
            nodes = list(self._nodes.values())
        for node in nodes:
            node.leave()

    def _drive(self, steps: Steps) -> Any:
        try:
            step = next(steps)
            while True:
                step = steps.send(self._take(step))
        except StopIteration as end:
            return end.value

    def _take(self, step: Exchange | Pause | Leave) -> Said | Failed | None:
        match step:
            case Exchange(peer, calls):
                return self._node(peer).exchange(calls)
            case Pause(seconds):
                time.sleep(seconds)
            case Leave():
                with self._changing:
                    left = [self._nodes.pop(peer) for peer in _left_behind(self._nodes, step)]
                for node in left:
                    node.leave()
            case _:
                assert_never(step)
        return None

    def _node(self, peer: Peer | None) -> SyncNode:
        with self._changing:
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


def _left_behind(known: Iterable[Peer | None], step: Leave) -> list[Peer | None]:
    """The servers that are to be left."""
    return [peer for peer in known if peer is not None and not peer.is_sentinel and peer not in step.peers]


def _handshake_for(peer: Peer | None, kind: BrokerKind, url: str, *, asks_for_facts: bool) -> Handshake:
    if peer is not None and peer.is_sentinel:
        return Handshake(url)
    return Handshake(url, is_primary_needed=kind is BrokerKind.SENTINEL, asks_for_facts=asks_for_facts)
