"""The same as ``async_node``, blocking, and shared by threads."""

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
from oneshot_queue.store.transport.routes import Failed, Said, unknown_scripts


class SyncNode:
    """The connections to one server."""

    def __init__(self, make: Callable[[], Any], introduction: Handshake) -> None:
        self._make = make
        self.introduction = introduction
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._idle: list[tuple[Any, set[str]]] = []  # with the scripts that were sent on each
        self._is_left = False

    def exchange(self, calls: Iterable[Call[Any]]) -> Said | Failed:
        """As ``AsyncNode.exchange``."""
        made: list[Call[Any]] = []
        # A caller waits for a connection no longer than for a reply.
        if not self._places.acquire(timeout=REPLY_TIMEOUT_S):
            return Failed(redis.TimeoutError("no connection became free"), was_sent=False)
        try:
            try:
                connection, told = self._idle_one() or (self._connect(is_listener=False), set())
            except DRIVER_ERRORS as error:
                return Failed(error, was_sent=False)
            try:
                replies = self._say(connection, commands(calls, made, told))
                if again := unknown_scripts(replies):
                    repeated = (made[index].command(whole_text=True) for index in again)
                    for index, reply in zip(again, self._say(connection, repeated), strict=True):
                        replies[index] = reply
            except BaseException as error:
                connection.disconnect()
                if isinstance(error, DRIVER_ERRORS):
                    return Failed(error, was_sent=True)
                raise
            self._idle.append((connection, told))
            if self._is_left:
                self.leave()
            return Said(made, replies)
        finally:
            self._places.release()

    def listener(self) -> Any:
        """A connection of the driver's, for one user alone, who listens on it, and hangs up.

        Raises:
            redis.RedisError, OSError: It cannot be made.
        """
        return self._connect(is_listener=True)

    def leave(self) -> None:
        """Use it no more: what is idle ends now, what is in use when it comes back."""
        self._is_left = True
        while self._idle:
            with suppress(IndexError, *DRIVER_ERRORS):
                self._idle.pop()[0].disconnect()

    def _idle_one(self) -> tuple[Any, set[str]] | None:
        while True:
            try:
                connection, told = self._idle.pop()
            except IndexError:
                return None
            try:
                # It is the parent's, which forked; or there is something to read, which nobody asked for: the server
                # hung up.
                is_dead = connection.pid != os.getpid() or connection.can_read(timeout=0)
            except DRIVER_ERRORS:
                is_dead = True
            if not is_dead:
                return connection, told
            connection.disconnect()

    def _connect(self, *, is_listener: bool) -> Any:
        connection = self._make()
        try:
            connection.connect()
            if questions := self.introduction.questions(is_listener=is_listener):
                replies: list[Any] = []
                connection.send_packed_command([packed(questions)])
                _read(connection, len(questions), replies)
                self.introduction.take_in(replies, is_listener=is_listener)
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _say(self, connection: Any, words: Iterator[tuple[Word, ...]]) -> list[Any]:
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
