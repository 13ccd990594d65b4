"""Connections: how calls reach Redis and what can go wrong on the way.

redis-py parses URLs, logs in, speaks TLS and reads replies; sending is done here, on its connections, because its
clients repeat every command up to ten times after a timeout, and a repeated claim or XADD is a second one. Here a
command is sent once. Whoever wants to repeat it knows that it may have been carried out.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

import anyio
import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from oneshot_queue.errors import BrokerError, BrokerRefused, BrokerUnreachable, MalformedData
from oneshot_queue.store.calls import Call, Word, packed

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 4.0
REPLY_TIMEOUT_S: Final = 4.5
"""With a little for ourselves, whoever calls knows within five seconds that nobody answers."""
MAX_CONNECTIONS: Final = 10
BLOCK: Final = 100
"""Commands sent at a time; the replies of one block are read while the server works on the next."""

_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.NoPermissionError, "this user lacks a permission; see the permissions in the documentation"),
    (exceptions.AuthenticationError, "check user and password in the URL"),
    (exceptions.AuthorizationError, "check user and password in the URL"),
    (exceptions.OutOfMemoryError, "its memory is full; wait for jobs to end, or raise maxmemory"),
    (exceptions.ReadOnlyError, "it is a replica; connect to the primary"),
    (exceptions.ResponseError, "look at the server's log"),
)
_LOGIN: Final = re.compile(r"^([a-z]+://[^:/@]*):.*@", re.DOTALL)
_QUERY_PASSWORD: Final = re.compile(r"(password=)[^&]*", re.IGNORECASE)
_OOM_IN_SCRIPT: Final = ": -OOM "


def shown_url(url: str) -> str:
    """A broker's URL without its password, fit for messages; even one that a password made invalid."""
    return _QUERY_PASSWORD.sub(r"\1***", _LOGIN.sub(r"\1:***@", url))


def broker_error(url: str, error: Exception) -> BrokerError:
    """Say what an error of the driver means: nobody answered, or somebody said no."""
    where, said = shown_url(url), str(error) or type(error).__name__
    if _OOM_IN_SCRIPT in said:
        # Redis 6.2 tells what a command in a script was refused for, but not by the code that the driver goes by.
        error = exceptions.OutOfMemoryError(said)
    # Refusals first: in redis-py a failed login is also a connection error, or, with asyncio, the cause of one.
    for kind, advice in _ADVICE:
        if isinstance(error, kind) or isinstance(error.__cause__, kind):
            return BrokerRefused(where, said, advice)
    return BrokerUnreachable(where, said)


def is_out_of_memory(error: BrokerError) -> bool:
    """Whether the server refused because ``maxmemory`` is reached."""
    return isinstance(error.__cause__, exceptions.OutOfMemoryError) or _OOM_IN_SCRIPT in str(error.__cause__)


def is_wrong_type(error: Exception) -> bool:
    """Whether the server refused because a key is of another type than ours."""
    return isinstance(error, BrokerError) and "WRONGTYPE" in str(error.__cause__)


DRIVER_ERRORS: Final = (exceptions.RedisError, OSError)


def _options() -> dict[str, Any]:
    return {
        "protocol": 2,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": REPLY_TIMEOUT_S,
        "decode_responses": False,
    }


# A caller waits for a connection no longer than for a reply.
_POOL: Final[Mapping[str, Any]] = {"max_connections": MAX_CONNECTIONS, "timeout": REPLY_TIMEOUT_S}


def _checked_url(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise BrokerRefused(shown_url(url), "it is no Redis URL", "use redis://, rediss:// or unix://")
    return url


def _settled(url: str, calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[Any]:
    """Make the typed answers; a refusal is the answer of its own call alone."""
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
    return answers


def _commands(calls: Iterable[Call[Any]], made: list[Call[Any]]) -> Iterator[tuple[Word, ...]]:
    """The words of each call, as they are asked for, and noted in ``made``.

    Where several calls go together, the first of each script carries its text: were it sent by digest and not known,
    those behind it would overtake it. A lone call can be repeated, so its digest is enough.
    """
    is_lone = isinstance(calls, Sequence) and len(calls) == 1
    told: set[str] = set()
    for call in calls:
        made.append(call)
        is_first = call.script is not None and not is_lone and call.script.sha not in told
        if call.script is not None:
            told.add(call.script.sha)
        yield call.command(whole_text=is_first)


def _unknown(replies: Sequence[Any]) -> list[int]:
    """Positions of calls whose script the server did not know. It did nothing for these, so they go once more."""
    return [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]


class AsyncConnection:
    """A pool of connections for asyncio, made in the loop that uses it.

    Args:
        reply_timeout_s: Seconds that a block of commands may take; a blocking reader needs more than its wait.
    """

    def __init__(self, url: str, *, reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self.url = _checked_url(url)
        self._reply_timeout_s = reply_timeout_s
        options = {**_options(), "retry": AsyncRetry(NoBackoff(), 0)}
        try:
            # Time limits for whole blocks are ours; redis-py's, for every single reply, costs as much as reading it.
            self._pool: redis.asyncio.ConnectionPool = redis.asyncio.BlockingConnectionPool.from_url(
                url, **{**options, **_POOL, "socket_timeout": None}
            )
            self._subscribers = redis.asyncio.ConnectionPool.from_url(url, **options)
        except ValueError:
            # The driver's words may quote a part of the password.
            raise BrokerRefused(
                shown_url(url), "it is no valid URL", "check it; special characters in a password are written %2F"
            ) from None

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
            async with self._borrowed() as connection:
                replies = await self._exchange(connection, _commands(calls, made))
                if again := _unknown(replies):
                    repeated = (made[index].command(whole_text=True) for index in again)
                    for index, reply in zip(again, await self._exchange(connection, repeated), strict=True):
                        replies[index] = reply
        except DRIVER_ERRORS as error:
            raise broker_error(self.url, error) from error
        return _settled(self.url, made, replies)

    async def _exchange(self, connection: Any, commands: Iterator[tuple[Word, ...]]) -> list[Any]:
        replies: list[Any] = []
        unread = 0
        while block := list(islice(commands, BLOCK)):
            with anyio.fail_after(self._reply_timeout_s):
                await connection.send_packed_command(packed(block))
                await self._read(connection, unread, replies)
            unread = len(block)
        with anyio.fail_after(self._reply_timeout_s):
            await self._read(connection, unread, replies)
        return replies

    async def _read(self, connection: Any, count: int, replies: list[Any]) -> None:
        for _ in range(count):
            try:
                replies.append(await connection.read_response())
            except exceptions.ResponseError as error:
                replies.append(error)

    def pubsub(self) -> redis.asyncio.client.PubSub:
        """A subscriber on a connection of its own."""
        return redis.asyncio.client.PubSub(self._subscribers)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
        await self._subscribers.aclose()

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Any]:
        # The login is part of it, and redis-py would wait for its replies for ever.
        with anyio.fail_after(min(self._reply_timeout_s, REPLY_TIMEOUT_S)):
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            yield connection
        except BaseException:
            # A reply may still be on its way; the next user of this connection must not read it.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)


class SyncConnection:
    """The same, blocking."""

    def __init__(self, url: str) -> None:
        self.url = _checked_url(url)
        options = {**_options(), **_POOL, "retry": Retry(NoBackoff(), 0)}
        try:
            self.pool: redis.ConnectionPool = redis.BlockingConnectionPool.from_url(url, **options)
        except ValueError:
            # The driver's words may quote a part of the password.
            raise BrokerRefused(
                shown_url(url), "it is no valid URL", "check it; special characters in a password are written %2F"
            ) from None

    def run_many(self, calls: Iterable[Call[Any]]) -> list[Any]:
        """As ``AsyncConnection.run_many``."""
        made: list[Call[Any]] = []
        try:
            with self._borrowed() as connection:
                replies = self._exchange(connection, _commands(calls, made))
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
        return redis.client.PubSub(self.pool)

    def close(self) -> None:
        """Close every connection."""
        self.pool.disconnect()

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        connection: Any = self.pool.get_connection()
        try:
            yield connection
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self.pool.release(connection)
