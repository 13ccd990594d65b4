"""Subscribes to announcements: one connection per ``Queue`` or worker, one per waiting call of a ``SyncQueue``.

An announcement only says "read again". Each waiter also reads again every second, so a lost announcement delays it but
hides nothing.
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
"""A subscriber pings after this much silence; after as much again, it considers its connection dead."""

MAX_BUFFERED: Final = 1_000
"""Messages that a subscription buffers; later ones are only marked as missed."""


class Subscription:
    """One waiter's subscription; buffers messages until they are taken."""

    def __init__(self) -> None:
        self.channels: set[str] = set()
        self._messages: list[tuple[str, bytes]] = []
        self._has_missed = False
        self._is_ready = anyio.Event()

    def deliver(self, channel: str, message: bytes) -> None:
        """Buffer a message."""
        if len(self._messages) < MAX_BUFFERED:
            self._messages.append((channel, message))
        else:
            self._has_missed = True
        self._is_ready.set()

    def mark_missed(self) -> None:
        """Note that messages may have been missed, before the subscription or while the connection was down."""
        self._has_missed = True
        self._is_ready.set()

    def take(self) -> tuple[list[tuple[str, bytes]], bool]:
        """Return the pairs of channel and message since the last call, and whether some may have been missed."""
        messages, has_missed = self._messages, self._has_missed
        self._messages, self._has_missed, self._is_ready = [], False, anyio.Event()
        return messages, has_missed

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._is_ready.wait()

    async def wait_for_message(self, timeout_s: float) -> bool:
        """Wait until a message arrives or was missed, and discard it; false after ``timeout_s`` seconds."""
        with anyio.move_on_after(timeout_s):
            await self._is_ready.wait()
        messages, has_missed = self.take()
        return has_missed or bool(messages)


class Announcements:
    """The subscriber that all subscriptions of one connection share; ``run`` reads for them until it is cancelled."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._pubsub: _PubSubConnection | None = None
        self._has_received = False
        self._is_wanted = anyio.Event()

    async def subscribe(self, subscription: Subscription, channels: Iterable[str]) -> None:
        """Subscribe to further channels; the subscription becomes ready once each of them is subscribed."""
        new = [channel for channel in channels if channel not in subscription.channels]
        for channel in new:
            subscription.channels.add(channel)
            self._subscriptions.setdefault(channel, set()).add(subscription)
        if not new:
            return
        self._is_wanted.set()
        if self._pubsub is not None:
            # If the connection has just failed, run() subscribes to all channels again.
            with suppress(*DRIVER_ERRORS):
                await self._pubsub.send("SUBSCRIBE", *new)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription, and unsubscribe from channels that no other one needs."""
        unused = []
        for channel in subscription.channels:
            subscriptions = self._subscriptions[channel]
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[channel]
                unused.append(channel)
        if unused and self._pubsub is not None:
            with suppress(*DRIVER_ERRORS):
                await self._pubsub.send("UNSUBSCRIBE", *unused)

    async def run(self) -> None:
        """Read until cancelled, reconnecting after each failure."""
        failures = 0
        while True:
            if not self._subscriptions:
                self._is_wanted = anyio.Event()
            await self._is_wanted.wait()
            self._has_received = False
            try:
                async with self._connection.dedicated() as raw:
                    await self._read(_PubSubConnection(raw))
            except (BrokerError, *DRIVER_ERRORS) as error:
                failures = 1 if self._has_received else failures + 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                problem = error if isinstance(error, BrokerError) else broker_error(self._connection.url, error)
                logger.log(level, "pub/sub connection failed: %s", problem)
                for subscription in {
                    subscription for subscriptions in self._subscriptions.values() for subscription in subscriptions
                }:
                    subscription.mark_missed()
            await anyio.sleep(_reconnect_delay(failures))

    async def _read(self, connection: _PubSubConnection) -> None:
        """Deliver messages until the connection fails or is silent for too long: a frozen server gives no error."""
        is_unanswered = False
        self._pubsub = connection
        try:
            if self._subscriptions:
                await connection.send("SUBSCRIBE", *self._subscriptions)
            while True:
                reply = await connection.read(PING_S)
                if reply is not None or not self._subscriptions:
                    is_unanswered = False
                    self._has_received = self._has_received or reply is not None
                    self._deliver(reply)
                elif is_unanswered:
                    raise redis.ConnectionError(f"no reply to PING within {PING_S:g} s")
                else:
                    is_unanswered = True
                    await connection.send("PING")
        finally:
            self._pubsub = None

    def _deliver(self, reply: object) -> None:
        match reply:
            case [b"message", bytes() as channel, bytes() as data]:
                for subscription in self._subscriptions.get(text(channel), ()):
                    subscription.deliver(text(channel), data)
            case [b"subscribe", bytes() as channel, _]:
                for subscription in self._subscriptions.get(text(channel), ()):
                    subscription.mark_missed()


class _PubSubConnection:
    """A connection that is subscribed; replies to its commands arrive among the messages."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, *words: str) -> None:
        if not self._connection.is_connected:
            # The driver would reconnect, without any subscription.
            raise redis.ConnectionError("the pub/sub connection is closed")
        await self._connection.send_packed_command(packed([words]))

    async def read(self, timeout_s: float) -> object:
        """Return the next message or reply; ``None`` after ``timeout_s`` seconds."""
        reply: object = await self._connection.read_response(timeout=timeout_s)
        return reply


class BlockingSubscription:
    """The blocking counterpart of ``Subscription``, on a connection of its own."""

    def __init__(self, connection: SyncConnection) -> None:
        self._connection = connection
        self._channels: set[str] = set()
        self._listener: Any = None  # opened on first use: most verbs never wait
        self._failures = 0

    def wait_for_message(self, channels: Iterable[str], timeout_s: float) -> bool:
        """Wait until a message arrives on a channel, or a subscription begins; false after ``timeout_s`` seconds."""
        try:
            if self._listener is None:
                self._listener = self._connection.listener()
            if new := set(channels) - self._channels:
                self._listener.send_packed_command([packed([("SUBSCRIBE", *new)])])
                self._channels |= new
            if not self._listener.can_read(timeout=timeout_s):
                return False
            self._listener.read_response()
            self._failures = 0
            return True
        except (BrokerError, *DRIVER_ERRORS):
            # The caller looks again. The pause keeps it from doing so in a busy loop if it cannot subscribe at all.
            self.close()
            self._failures += 1
            time.sleep(min(timeout_s, _reconnect_delay(self._failures)))
            return True

    def close(self) -> None:
        """Close the connection."""
        listener, self._listener, self._channels = self._listener, None, set()
        if listener is not None:
            with suppress(*DRIVER_ERRORS):
                listener.disconnect()


def _reconnect_delay(failures: int) -> float:
    """Return seconds until the next attempt, spread so that clients of one server do not all reconnect at once."""
    return retry_delay(max(failures, 1), base_s=RECONNECT_S, cap_s=MAX_RECONNECT_S, spread=random.uniform(0.5, 1.0))
