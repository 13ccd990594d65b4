"""Connections: how calls reach Redis.

redis-py parses URLs, logs in, speaks TLS and reads replies; sending is done here, on its connections, because its
clients repeat every command up to ten times after a timeout, and a repeated claim or XADD is a second one. Here a
command is sent once. Whoever wants to repeat it knows that it may have been carried out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import anyio
import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from oneshot_queue.errors import BrokerUnreachable, InvalidBrokerUrl, MalformedData, QueueClosed
from oneshot_queue.store.calls import Call, Word, packed
from oneshot_queue.store.refusals import DRIVER_ERRORS, broker_error, shown_url

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 4.0
REPLY_TIMEOUT_S: Final = 4.5
"""With a little for ourselves, whoever calls knows within five seconds that nobody answers."""
CLOSE_TIMEOUT_S: Final = 1.0
MAX_CONNECTIONS: Final = 10
BLOCK: Final = 100
"""Commands sent at a time; the replies of one block are read while the server works on the next."""

_OPTIONS: Final[Mapping[str, Any]] = {
    "protocol": 2,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "decode_responses": False,
}


def _pool(kind: Any, url: str, size: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """A pool of the driver's for this URL, which was found to make sense.

    Raises:
        InvalidBrokerUrl: It makes none.
    """
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise InvalidBrokerUrl(shown_url(url))
    try:
        pool = kind.from_url(url, **size)
        # What a URL may say in its query has no say in how we talk.
        pool.connection_kwargs.update({**_OPTIONS, **options})
        pool.make_connection()
    except (ValueError, TypeError):
        # The driver's words may quote a part of the password.
        raise InvalidBrokerUrl(shown_url(url)) from None
    return pool


def _settled(url: str, calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[Any]:
    """Make the typed answers; a refusal is the answer of its own call alone.

    Raises:
        BrokerUnreachable: The server serves nobody at the moment; no call was carried out.
    """
    answers: list[Any] = []
    for call, reply in zip(calls, replies, strict=True):
        if isinstance(reply, Exception):
            refusal = broker_error(url, reply)
            refusal.__cause__ = reply
            answers.append(refusal)
            continue
        try:
            answers.append(call.read(reply))
        except MalformedData as malformed:
            answers.append(malformed)
        except (ValueError, TypeError, KeyError, IndexError) as surprise:
            # What is stored is hostile until it is read: one damaged value must not take its neighbours with it.
            answers.append(MalformedData("reply", f"{surprise!r}; something else writes to our keys"))
    if answers and all(isinstance(answer, BrokerUnreachable) for answer in answers):
        raise answers[0]
    return answers


def _commands(calls: Iterable[Call[Any]], made: list[Call[Any]], told: set[str]) -> Iterator[tuple[Word, ...]]:
    """The words of each call, as they are asked for, and noted in ``made``.

    Where several calls go together, the first of each script that the server was not ``told`` on this connection
    carries its text: were it sent by digest and not known, those behind it would overtake it. A lone call can be
    repeated, so its digest is enough.
    """
    is_lone = isinstance(calls, Sequence) and len(calls) == 1
    for call in calls:
        made.append(call)
        script = call.script
        if script is None or is_lone or script.sha in told:
            yield call.command()
        else:
            told.add(script.sha)
            yield call.command(whole_text=True)


def _unknown(replies: Sequence[Any]) -> list[int]:
    """Positions of calls whose script the server did not know. It did nothing for these, so they go once more."""
    return [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]


class AsyncConnection:
    """A few connections for asyncio, made when they are needed, in the loop that uses them.

    Args:
        reply_timeout_s: Seconds that a block of commands may take; a blocking reader needs more than its wait.
    """

    def __init__(self, url: str, *, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self.url = url
        self._reply_timeout_s = reply_timeout_s
        # It only makes connections: its own bookkeeping and its time limit for every single reply cost more than the
        # exchange itself, and a cancellation at the wrong instant makes it lose one. Time limits for blocks are ours.
        options = {"retry": AsyncRetry(NoBackoff(), 0), "socket_timeout": None}
        self._maker = _pool(redis.asyncio.ConnectionPool, url, {}, options)
        self._places = anyio.Semaphore(MAX_CONNECTIONS, fast_acquire=True)
        self._told: dict[Any, set[str]] = {}  # every open connection, and the scripts that were sent on it
        self._idle: list[Any] = []
        self._is_closed = False

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

        Calls that are made while they are asked for are made while the server works on those before.

        Raises:
            BrokerUnreachable: The connection failed; which calls were carried out is unknown.
        """
        made: list[Call[Any]] = []
        try:
            connection = await self._borrow()
            try:
                replies = await self._exchange(connection, _commands(calls, made, self._told[connection]))
                if again := _unknown(replies):
                    repeated = (made[index].command(whole_text=True) for index in again)
                    for index, reply in zip(again, await self._exchange(connection, repeated), strict=True):
                        replies[index] = reply
            except BaseException:
                # A reply may still be on its way; the next user of this connection must not read it.
                await connection.disconnect(nowait=True)
                raise
            finally:
                self._give_back(connection)
        except DRIVER_ERRORS as error:
            raise broker_error(self.url, error) from error
        return _settled(self.url, made, replies)

    async def _exchange(self, connection: Any, commands: Iterator[tuple[Word, ...]]) -> list[Any]:
        replies: list[Any] = []
        unread = 0
        block = list(islice(commands, BLOCK))
        while block:
            with anyio.fail_after(self._reply_timeout_s):
                await connection.send_packed_command(packed(block))
                await self._read(connection, unread, replies)
                unread = len(block)
                block = list(islice(commands, BLOCK))
                if not block:
                    await self._read(connection, unread, replies)
        return replies

    async def _read(self, connection: Any, count: int, replies: list[Any]) -> None:
        for _ in range(count):
            try:
                replies.append(await connection.read_response())
            except exceptions.ResponseError as error:
                replies.append(error)

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Any]:
        """One of redis-py's connections, for one user alone, who listens on it; not one of the few.

        Raises:
            redis.RedisError, OSError: It cannot be made.
        """
        connection = await self._connect()
        try:
            yield connection
        finally:
            self._told.pop(connection, None)
            await _hang_up(connection)

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
            return await self._connect()
        except BaseException:
            self._places.release()
            raise

    def _give_back(self, connection: Any) -> None:
        self._places.release()
        if connection.is_connected:
            self._idle.append(connection)
        else:
            self._told.pop(connection, None)

    async def _connect(self) -> Any:
        if self._is_closed:
            raise QueueClosed
        connection = self._maker.make_connection()
        self._told[connection] = set()
        try:
            # The login is part of it, and redis-py would wait for its replies for ever.
            with anyio.fail_after(self._connect_timeout_s):
                await connection.connect()
            if self._is_closed:
                raise QueueClosed
        except BaseException:
            self._told.pop(connection, None)
            await connection.disconnect(nowait=True)
            raise
        return connection

    @property
    def _connect_timeout_s(self) -> float:
        return min(self._reply_timeout_s, REPLY_TIMEOUT_S)


async def _hang_up(connection: Any) -> None:
    with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True), suppress(*DRIVER_ERRORS):
        await connection.disconnect()


class SyncConnection:
    """The same, blocking, and shared by threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        # A caller waits for a connection no longer than for a reply.
        size = {"max_connections": MAX_CONNECTIONS, "timeout": REPLY_TIMEOUT_S}
        options = {"retry": Retry(NoBackoff(), 0), "socket_timeout": REPLY_TIMEOUT_S}
        self._pool = _pool(redis.BlockingConnectionPool, url, size, options)
        # What was sent on each connection; only who has borrowed one touches its entry.
        self._told: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
        self.is_closed = False

    def run_many(self, calls: Iterable[Call[Any]]) -> list[Any]:
        """As ``AsyncConnection.run_many``."""
        made: list[Call[Any]] = []
        try:
            with self._borrowed() as connection:
                told = self._told.setdefault(connection, set())
                replies = self._exchange(connection, _commands(calls, made, told))
                if again := _unknown(replies):
                    repeated = (made[index].command(whole_text=True) for index in again)
                    for index, reply in zip(again, self._exchange(connection, repeated), strict=True):
                        replies[index] = reply
        except DRIVER_ERRORS as error:
            raise broker_error(self.url, error) from error
        return _settled(self.url, made, replies)

    def _exchange(self, connection: Any, commands: Iterator[tuple[Word, ...]]) -> list[Any]:
        replies: list[Any] = []
        unread = 0
        while block := list(islice(commands, BLOCK)):
            connection.send_packed_command([packed(block)])
            self._read(connection, unread, replies)
            unread = len(block)
        self._read(connection, unread, replies)
        return replies

    def _read(self, connection: Any, count: int, replies: list[Any]) -> None:
        for _ in range(count):
            try:
                replies.append(connection.read_response())
            except exceptions.ResponseError as error:
                replies.append(error)

    def pubsub(self) -> redis.client.PubSub:
        """A subscriber on a connection of its own."""
        if self.is_closed:
            raise QueueClosed
        return redis.client.PubSub(self._pool)

    def close(self) -> None:
        """Close every connection for good; one that another thread uses when it comes back."""
        self.is_closed = True
        self._pool.disconnect(inuse_connections=False)

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        if self.is_closed:
            raise QueueClosed
        connection: Any = self._pool.get_connection()
        try:
            yield connection
        except BaseException:
            self._told.pop(connection, None)
            connection.disconnect()
            raise
        finally:
            if self.is_closed:
                connection.disconnect()
            self._pool.release(connection)
