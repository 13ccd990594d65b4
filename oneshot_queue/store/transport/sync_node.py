"""A few blocking connections to one server, shared by threads: the counterpart of ``async_node``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import redis
from redis import exceptions

from oneshot_queue.store.calls import Call, Word, packed
from oneshot_queue.store.transport.driver import BLOCK, MAX_CONNECTIONS, REPLY_TIMEOUT_S, commands
from oneshot_queue.store.transport.handshake import Handshake
from oneshot_queue.store.transport.refusals import DRIVER_ERRORS
from oneshot_queue.store.transport.routes import ConnectionFailed, Replied, unknown_scripts


class SyncNode:
    """The connections to one server."""

    def __init__(self, make: Callable[[], Any], handshake: Handshake) -> None:
        self._make = make
        self.handshake = handshake
        self._permits = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._idle: list[tuple[Any, set[str]]] = []  # each with the scripts that were sent on it
        self._is_retired = False

    def exchange(self, calls: Iterable[Call[Any]]) -> Replied | ConnectionFailed:
        """As ``AsyncNode.exchange``."""
        made: list[Call[Any]] = []
        # A caller waits for a connection no longer than for a reply.
        if not self._permits.acquire(timeout=REPLY_TIMEOUT_S):
            return ConnectionFailed(
                redis.TimeoutError(f"no connection became free within {REPLY_TIMEOUT_S:g} s"), was_sent=False
            )
        try:
            try:
                connection, sent_scripts = self._idle_one() or (self._connect(is_listener=False), set())
            except DRIVER_ERRORS as error:
                return ConnectionFailed(error, was_sent=False)
            try:
                replies = self._pipeline(connection, commands(calls, made, sent_scripts))
                if again := unknown_scripts(replies):
                    repeated = (made[index].command(whole_text=True) for index in again)
                    for index, reply in zip(again, self._pipeline(connection, repeated), strict=True):
                        replies[index] = reply
            except BaseException as error:
                connection.disconnect()
                if isinstance(error, DRIVER_ERRORS):
                    return ConnectionFailed(error, was_sent=True)
                raise
            self._idle.append((connection, sent_scripts))
            if self._is_retired:
                self.retire()
            return Replied(made, replies)
        finally:
            self._permits.release()

    def listener(self) -> Any:
        """Open one of redis-py's connections for one subscriber, who must close it.

        Raises:
            redis.RedisError, OSError: It cannot be opened.
        """
        return self._connect(is_listener=True)

    def retire(self) -> None:
        """Stop using this server: idle connections close now, others once they are returned."""
        self._is_retired = True
        while self._idle:
            with suppress(IndexError, *DRIVER_ERRORS):
                self._idle.pop()[0].disconnect()

    def _idle_one(self) -> tuple[Any, set[str]] | None:
        while True:
            try:
                connection, sent_scripts = self._idle.pop()
            except IndexError:
                return None
            try:
                # Opened by the parent process before a fork; or readable although nothing was sent, so the server
                # closed it.
                is_dead = connection.pid != os.getpid() or connection.can_read(timeout=0)
            except DRIVER_ERRORS:
                is_dead = True
            if not is_dead:
                return connection, sent_scripts
            connection.disconnect()

    def _connect(self, *, is_listener: bool) -> Any:
        connection = self._make()
        try:
            connection.connect()
            if requests := self.handshake.requests(is_listener=is_listener):
                replies: list[Any] = []
                connection.send_packed_command([packed(requests)])
                _read(connection, len(requests), replies)
                self.handshake.check(replies, is_listener=is_listener)
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _pipeline(self, connection: Any, words: Iterator[tuple[Word, ...]]) -> list[Any]:
        replies: list[Any] = []
        unread = 0
        while block := list(islice(words, BLOCK)):
            connection.send_packed_command([packed(block)])
            _read(connection, unread, replies)
            unread = len(block)
        _read(connection, unread, replies)
        return replies


def _read(connection: Any, count: int, replies: list[Any]) -> None:
    for _ in range(count):
        try:
            replies.append(connection.read_response(disconnect_on_error=False))
        except (exceptions.ResponseError, exceptions.BusyLoadingError) as error:
            replies.append(error)
