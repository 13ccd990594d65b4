"""A few asyncio connections to one server, opened on demand in the event loop that uses them."""

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
from oneshot_queue.store.transport.routes import ConnectionFailed, Replied, typed_answers, unknown_scripts
from oneshot_queue.store.transport.server_facts import ServerFacts

RunMany = Callable[[Sequence[Call[Any]]], Awaitable[list[Any]]]
"""Carries out calls in order; the answer of a refused call is the error."""

MeetServer = Callable[[ServerFacts, RunMany], Awaitable[None]]
"""Called with the facts of a new run of a server, and a function that carries out calls there before all others."""


class AsyncNode:
    """The connections to one server.

    Args:
        make: Creates one of the driver's connections, not yet open.
        reply_timeout_s: Time limit for a block of commands.
        connect_timeout_s: Time limit for opening a connection, including login and handshake.
        meet_server: Called for every new run of this server; other calls wait until it returns.
        coalesces: Send calls of one turn of the event loop together, except lazy ones.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        handshake: Handshake,
        *,
        reply_timeout_s: float,
        connect_timeout_s: float,
        meet_server: MeetServer | None = None,
        coalesces: bool = False,
    ) -> None:
        # The driver's pools are not used: they add a time limit to every single reply, and a cancellation at the wrong
        # moment makes them lose a connection.
        self._make = make
        self.handshake = handshake
        self._reply_timeout_s = reply_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._meet_server = meet_server
        self._coalescer = Coalescer(self._exchange) if coalesces else None
        self._handshake_lock = anyio.Lock()
        self._permits = anyio.Semaphore(MAX_CONNECTIONS, fast_acquire=True)
        self._sent_scripts: dict[Any, set[str]] = {}  # by open connection
        self._idle: list[Any] = []
        self._listeners: set[Any] = set()
        self._is_retired = False
        self._is_closed = False

    async def exchange(self, calls: Iterable[Call[Any]]) -> Replied | ConnectionFailed:
        """Send calls in order, pipelined. A lazy iterable is consumed while the server works on the calls before."""
        if self._coalescer is not None and isinstance(calls, list | tuple):  # ``Sequence`` would cost two calls
            return await self._coalescer.exchange(calls)
        return await self._exchange(calls)

    async def _exchange(self, calls: Iterable[Call[Any]]) -> Replied | ConnectionFailed:
        made: list[Call[Any]] = []
        try:
            connection = await self._borrow()
        except DRIVER_ERRORS as error:
            return ConnectionFailed(error, was_sent=False)
        try:
            replies = await self._pipeline(connection, commands(calls, made, self._sent_scripts[connection]))
            if again := unknown_scripts(replies):
                repeated = (made[index].command(whole_text=True) for index in again)
                for index, reply in zip(again, await self._pipeline(connection, repeated), strict=True):
                    replies[index] = reply
        except BaseException as error:
            # A reply may still arrive; the next user of this connection must not read it.
            await connection.disconnect(nowait=True)
            if isinstance(error, DRIVER_ERRORS):
                return ConnectionFailed(error, was_sent=True)
            raise
        finally:
            await self._give_back(connection)
        return Replied(made, replies)

    async def _pipeline(self, connection: Any, words: Iterator[tuple[Word, ...]]) -> list[Any]:
        replies: list[Any] = []
        unread = 0
        block = list(islice(words, BLOCK))
        while block:
            # asyncio's own timeout: nothing here needs one of anyio's cancel scopes.
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
        """Open one of redis-py's connections for one subscriber; it does not count against the limit per server.

        Raises:
            redis.RedisError, OSError: It cannot be opened.
        """
        connection = await self._connect(is_listener=True)
        self._listeners.add(connection)
        try:
            if self._is_retired:
                raise exceptions.ConnectionError("this server was replaced while the connection was opened")
            yield connection
        finally:
            self._listeners.discard(connection)
            self._sent_scripts.pop(connection, None)
            await _hang_up(connection)

    async def retire(self) -> None:
        """Stop using this server: idle and listening connections close now, others once they are returned."""
        self._is_retired = True
        idle, self._idle = self._idle, []
        for connection in [*idle, *self._listeners]:
            self._sent_scripts.pop(connection, None)
            await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close every connection for good, including those in use."""
        self._is_closed = True
        for connection in list(self._sent_scripts):
            await _hang_up(connection)
        self._sent_scripts.clear()
        self._idle.clear()

    async def _borrow(self) -> Any:
        if self._permits.value:
            self._permits.acquire_nowait()
        else:
            with anyio.fail_after(self._connect_timeout_s):
                await self._permits.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                # Readable although nothing was sent: the server closed it.
                if not await connection.can_read():
                    return connection
                self._sent_scripts.pop(connection, None)
                await connection.disconnect(nowait=True)
            return await self._connect(is_listener=False)
        except BaseException:
            self._permits.release()
            raise

    async def _give_back(self, connection: Any) -> None:
        self._permits.release()
        if connection.is_connected and not self._is_retired:
            self._idle.append(connection)
        else:
            self._sent_scripts.pop(connection, None)
            await connection.disconnect(nowait=True)

    async def _connect(self, *, is_listener: bool) -> Any:
        if self._is_closed:
            raise QueueClosed
        connection = self._make()
        self._sent_scripts[connection] = set()
        try:
            # One limit for all of it. redis-py would wait forever for the replies to its login, and the wait for other
            # connections' handshakes counts too.
            with anyio.fail_after(self._connect_timeout_s) as limit:
                await connection.connect()
                if is_listener:
                    await self._shake_hands(connection, limit, is_listener=True)
                else:
                    async with self._handshake_lock:
                        await self._shake_hands(connection, limit, is_listener=False)
            if self._is_closed:
                raise QueueClosed
        except BaseException:
            self._sent_scripts.pop(connection, None)
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _shake_hands(self, connection: Any, limit: anyio.CancelScope, *, is_listener: bool) -> None:
        if requests := self.handshake.requests(is_listener=is_listener):
            replies: list[Any] = []
            await connection.send_packed_command(packed(requests))
            await _read(connection, len(requests), replies)
            new_facts = self.handshake.check(replies, is_listener=is_listener)
            if new_facts is not None and self._meet_server is not None:
                limit.deadline = math.inf  # may take many blocks of calls, each with its own time limit
                await self._run_callback(connection, new_facts, self._meet_server)

    async def _run_callback(self, connection: Any, facts: ServerFacts, meet_server: MeetServer) -> None:
        async def run_many(calls: Sequence[Call[Any]]) -> list[Any]:
            whole = (call.command(whole_text=True) for call in calls)
            return typed_answers(self.handshake.url, calls, await self._pipeline(connection, whole))

        try:
            await meet_server(facts, run_many)
        except BaseException:
            # The next connection must call it again.
            self.handshake.facts = None
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
