"""Hearing what is announced: one subscriber for a whole process, shared by all who wait.

Announcements only say "look again"; each waiter also looks again by itself, so a lost one costs a second, not the
truth.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import anyio
import redis

from oneshot_queue.backoff import retry_delay
from oneshot_queue.errors import BrokerError
from oneshot_queue.store.calls import packed, text
from oneshot_queue.store.transport.connection import AsyncConnection, SyncConnection
from oneshot_queue.store.transport.refusals import DRIVER_ERRORS, broker_error

logger = logging.getLogger(__name__)

RECONNECT_S: Final = 0.5
MAX_RECONNECT_S: Final = 4.0
PING_S: Final = 10.0
"""A subscriber that hears nothing for so long pings; if it hears nothing for as long again, its connection is dead."""

MAX_UNHEARD: Final = 1_000


class Subscription:
    """What one waiter listens with: remembers what was said until it is asked."""

    def __init__(self) -> None:
        self.channels: set[str] = set()
        self._said: list[tuple[str, bytes]] = []
        self._missed = False
        self._news = anyio.Event()

    def say(self, channel: str, message: bytes) -> None:
        """A message came."""
        if len(self._said) < MAX_UNHEARD:
            self._said.append((channel, message))
        else:
            self._missed = True
        self._news.set()

    def miss(self) -> None:
        """Messages may have passed unheard: before a subscription, or while the connection was down."""
        self._missed = True
        self._news.set()

    def take(self) -> tuple[list[tuple[str, bytes]], bool]:
        """What was said since the last call, and whether something may have been missed."""
        said, missed = self._said, self._missed
        self._said, self._missed, self._news = [], False, anyio.Event()
        return said, missed

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._news.wait()

    async def hear(self, timeout_s: float) -> bool:
        """Wait until something is said or missed, and forget it; false when the time was over."""
        with anyio.move_on_after(timeout_s):
            await self._news.wait()
        said, missed = self.take()
        return missed or bool(said)


class Announcements:
    """The one subscriber. ``run`` reads for all ears until it is cancelled."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._ears: dict[str, set[Subscription]] = {}
        self._line: _Line | None = None
        self._has_heard = False
        self._wanted = anyio.Event()

    async def listen(self, ear: Subscription, channels: Iterable[str]) -> None:
        """Let an ear hear these channels too; it is woken once each is subscribed."""
        new = [channel for channel in channels if channel not in ear.channels]
        for channel in new:
            ear.channels.add(channel)
            self._ears.setdefault(channel, set()).add(ear)
        if not new:
            return
        self._wanted.set()
        if self._line is not None:
            # If the connection just failed, run() subscribes to everything anew.
            with suppress(*DRIVER_ERRORS):
                await self._line.say("SUBSCRIBE", *new)

    async def forget(self, ear: Subscription) -> None:
        """Let an ear go, and leave the channels that nobody listens to any more."""
        deserted = []
        for channel in ear.channels:
            ears = self._ears[channel]
            ears.discard(ear)
            if not ears:
                del self._ears[channel]
                deserted.append(channel)
        if deserted and self._line is not None:
            with suppress(*DRIVER_ERRORS):
                await self._line.say("UNSUBSCRIBE", *deserted)

    async def run(self) -> None:
        """Read for ever, reconnecting as often as needed."""
        failures = 0
        while True:
            if not self._ears:
                self._wanted = anyio.Event()
            await self._wanted.wait()
            self._has_heard = False
            try:
                async with self._connection.dedicated() as connection:
                    await self._read(_Line(connection))
            except (BrokerError, *DRIVER_ERRORS) as error:
                failures = 1 if self._has_heard else failures + 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                problem = error if isinstance(error, BrokerError) else broker_error(self._connection.url, error)
                logger.log(level, "cannot hear announcements: %s", problem)
                for ear in {ear for ears in self._ears.values() for ear in ears}:
                    ear.miss()
            await anyio.sleep(_reconnect_delay(failures))

    async def _read(self, line: _Line) -> None:
        """Pass messages on until the connection fails, or is found dead: a frozen server gives silence, no error."""
        is_unanswered = False
        self._line = line
        try:
            if self._ears:
                await line.say("SUBSCRIBE", *self._ears)
            while True:
                reply = await line.hear(PING_S)
                if reply is not None or not self._ears:
                    is_unanswered = False
                    self._has_heard = self._has_heard or reply is not None
                    self._pass_on(reply)
                elif is_unanswered:
                    raise redis.ConnectionError("the subscriber's connection is silent")
                else:
                    is_unanswered = True
                    await line.say("PING")
        finally:
            self._line = None

    def _pass_on(self, reply: object) -> None:
        match reply:
            case [b"message", bytes() as channel, bytes() as data]:
                for ear in self._ears.get(text(channel), ()):
                    ear.say(text(channel), data)
            case [b"subscribe", bytes() as channel, _]:
                for ear in self._ears.get(text(channel), ()):
                    ear.miss()


class _Line:
    """A connection that listens. What is said on it is answered among the messages."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def say(self, *words: str) -> None:
        if not self._connection.is_connected:
            # The driver would connect anew, and nobody would listen there.
            raise redis.ConnectionError("the subscriber's connection is gone")
        await self._connection.send_packed_command(packed([words]))

    async def hear(self, timeout_s: float) -> object:
        """The next message or answer; ``None`` when the time was over."""
        reply: object = await self._connection.read_response(timeout=timeout_s)
        return reply


class BlockingSubscription:
    """The same for one blocking waiter, on a connection of its own."""

    def __init__(self, connection: SyncConnection) -> None:
        self._connection = connection
        self._channels: set[str] = set()
        self._line: Any = None  # most verbs never listen
        self._failures = 0

    def hear(self, channels: Iterable[str], timeout_s: float) -> bool:
        """Wait until something is said on a channel; comes back at once when it had to subscribe first."""
        try:
            if self._line is None:
                self._line = self._connection.listener()
            if new := set(channels) - self._channels:
                self._line.send_packed_command([packed([("SUBSCRIBE", *new)])])
                self._channels |= new
            if not self._line.can_read(timeout=timeout_s):
                return False
            self._line.read_response()
            self._failures = 0
            return True
        except (BrokerError, *DRIVER_ERRORS):
            # Whoever waits looks again; at the pace of a subscriber that may not subscribe, not as fast as it can.
            self.close()
            self._failures += 1
            time.sleep(min(timeout_s, _reconnect_delay(self._failures)))
            return True

    def close(self) -> None:
        """Leave all channels."""
        line, self._line, self._channels = self._line, None, set()
        if line is not None:
            with suppress(*DRIVER_ERRORS):
                line.disconnect()


def _reconnect_delay(failures: int) -> float:
    """Seconds until the next attempt; spread, so that many who lost the same server do not return together."""
    return retry_delay(max(failures, 1), base_s=RECONNECT_S, cap_s=MAX_RECONNECT_S, spread=random.uniform(0.5, 1.0))
