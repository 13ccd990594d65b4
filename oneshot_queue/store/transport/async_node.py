"""A few connections of asyncio to one server, made when they are needed, in the loop that uses them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any

import anyio
from redis import exceptions

from oneshot_queue.errors import QueueClosed
from oneshot_queue.store.calls import Call, Word, packed
from oneshot_queue.store.transport.coalescing import Coalescer
from oneshot_queue.store.transport.driver import BLOCK, CLOSE_TIMEOUT_S, MAX_CONNECTIONS, commands
from oneshot_queue.store.transport.handshake import Handshake
from oneshot_queue.store.transport.refusals import DRIVER_ERRORS
from oneshot_queue.store.transport.routes import Failed, Said, settled, unknown_scripts
from oneshot_queue.store.transport.server_facts import ServerFacts

RunMany = Callable[[Sequence[Call[Any]]], Awaitable[list[Any]]]
"""Carries out calls in order; a call that was refused has its error as its answer."""

Greet = Callable[[ServerFacts, RunMany], Awaitable[None]]


class AsyncNode:
    """The connections to one server.

    Args:
        make: Makes one of the driver's connections, not yet open.
        reply_timeout_s: Seconds that a block of commands may take.
        connect_timeout_s: Seconds until a connection must be there, login and introduction included.
        greet: Called with every new run of this server, and a way to speak to it before anybody else does.
        gathers: Calls of one turn of the loop go together, but for those that are made while they are asked for.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        introduction: Handshake,
        *,
        reply_timeout_s: float,
        connect_timeout_s: float,
        meet_server: Greet | None = None,
        gathers: bool = False,
    ) -> None:
        # The driver only makes connections: the bookkeeping of its pools and its time limit for every single reply
        # cost more than the exchange itself, and a cancellation at the wrong instant makes it lose one.
        self._make = make
        self.introduction = introduction
        self._reply_timeout_s = reply_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._greet = meet_server
        self._gatherer = Coalescer(self._exchange) if gathers else None
        self._meeting = anyio.Lock()
        self._places = anyio.Semaphore(MAX_CONNECTIONS, fast_acquire=True)
        self._told: dict[Any, set[str]] = {}  # every open connection, and the scripts that were sent on it
        self._idle: list[Any] = []
        self._listening: set[Any] = set()
        self._is_left = False
        self._is_closed = False

    async def exchange(self, calls: Iterable[Call[Any]]) -> Said | Failed:
        """Say calls in order, pipelined; those that are made while they are asked for are made while others travel."""
        if self._gatherer is not None and isinstance(calls, Sequence):
            return await self._gatherer.say(calls)
        return await self._exchange(calls)

    async def _exchange(self, calls: Iterable[Call[Any]]) -> Said | Failed:
        made: list[Call[Any]] = []
        try:
            connection = await self._borrow()
        except DRIVER_ERRORS as error:
            return Failed(error, was_sent=False)
        try:
            replies = await self._say(connection, commands(calls, made, self._told[connection]))
            if again := unknown_scripts(replies):
                repeated = (made[index].command(whole_text=True) for index in again)
                for index, reply in zip(again, await self._say(connection, repeated), strict=True):
                    replies[index] = reply
        except BaseException as error:
            # A reply may still be on its way; the next user of this connection must not read it.
            await connection.disconnect(nowait=True)
            if isinstance(error, DRIVER_ERRORS):
                return Failed(error, was_sent=True)
            raise
        finally:
            await self._give_back(connection)
        return Said(made, replies)

    async def _say(self, connection: Any, words: Iterator[tuple[Word, ...]]) -> list[Any]:
        replies: list[Any] = []
        unread = 0
        block = list(islice(words, BLOCK))
        while block:
            # Asyncio's own limit: anyio's would cost a third of the exchange.
            async with asyncio.timeout(self._reply_timeout_s):
                await connection.send_packed_command(packed(block))
                await _read(connection, unread, replies)
                unread = len(block)
                block = list(islice(words, BLOCK))
                if not block:
                    await _read(connection, unread, replies)
        return replies

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Any]:
        """One of redis-py's connections, for one user alone, who listens on it; not one of the few.

        Raises:
            redis.RedisError, OSError: It cannot be made.
        """
        connection = await self._connect(is_listener=True)
        self._listening.add(connection)
        try:
            if self._is_left:
                raise exceptions.ConnectionError("another server is to be listened to by now")
            yield connection
        finally:
            self._listening.discard(connection)
            self._told.pop(connection, None)
            await _hang_up(connection)

    async def leave(self) -> None:
        """Use it no more: what is idle or listens ends now, what is in use when it is given back."""
        self._is_left = True
        idle, self._idle = self._idle, []
        for connection in [*idle, *self._listening]:
            self._told.pop(connection, None)
            await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close every connection, also those in use, for good."""
        self._is_closed = True
        for connection in list(self._told):
            await _hang_up(connection)
        self._told.clear()
        self._idle.clear()

    async def _borrow(self) -> Any:
        if self._places.value:
            self._places.acquire_nowait()
        else:
            with anyio.fail_after(self._connect_timeout_s):
                await self._places.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                # There is something to read, which nobody asked for: the server hung up.
                if not await connection.can_read():
                    return connection
                self._told.pop(connection, None)
                await connection.disconnect(nowait=True)
            return await self._connect(is_listener=False)
        except BaseException:
            self._places.release()
            raise

    async def _give_back(self, connection: Any) -> None:
        self._places.release()
        if connection.is_connected and not self._is_left:
            self._idle.append(connection)
        else:
            self._told.pop(connection, None)
            await connection.disconnect(nowait=True)

    async def _connect(self, *, is_listener: bool) -> Any:
        if self._is_closed:
            raise QueueClosed
        connection = self._make()
        self._told[connection] = set()
        try:
            # One limit for all of it: redis-py would wait for the replies to its login for ever, and whoever must wait
            # for the introductions of others waits no longer for that.
            with anyio.fail_after(self._connect_timeout_s) as limit:
                await connection.connect()
                if is_listener:
                    await self._introduce(connection, limit, is_listener=True)
                else:
                    async with self._meeting:
                        await self._introduce(connection, limit, is_listener=False)
            if self._is_closed:
                raise QueueClosed
        except BaseException:
            self._told.pop(connection, None)
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _introduce(self, connection: Any, limit: anyio.CancelScope, *, is_listener: bool) -> None:
        if questions := self.introduction.questions(is_listener=is_listener):
            replies: list[Any] = []
            await connection.send_packed_command(packed(questions))
            await _read(connection, len(questions), replies)
            news = self.introduction.take_in(replies, is_listener=is_listener)
            if news is not None and self._greet is not None:
                limit.deadline = math.inf  # there may be much to say, and each block of it has a limit of its own
                await self._greet_on(connection, news, self._greet)

    async def _greet_on(self, connection: Any, facts: ServerFacts, meet_server: Greet) -> None:
        async def run_many(calls: Sequence[Call[Any]]) -> list[Any]:
            whole = (call.command(whole_text=True) for call in calls)
            return settled(self.introduction.url, calls, await self._say(connection, whole))

        try:
            await meet_server(facts, run_many)
        except BaseException:
            # Whoever connects next meets it again.
            self.introduction.facts = None
            raise


async def _read(connection: Any, count: int, replies: list[Any]) -> None:
    for _ in range(count):
        try:
            replies.append(await connection.read_response(disconnect_on_error=False))
        except (exceptions.ResponseError, exceptions.BusyLoadingError) as error:
            replies.append(error)


async def _hang_up(connection: Any) -> None:
    with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True), suppress(*DRIVER_ERRORS):
        await connection.disconnect()
