"""The two drivers that perform the effects of a verb: one for asyncio, one blocking."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack
from typing import Any, TypeVar, assert_never

import anyio

from oneshot_queue.client.effects import Effect, Listen, RunCalls, Sleep, Verb
from oneshot_queue.client.verbs.logs import OutputChunk
from oneshot_queue.errors import OneshotQueueError, QueueClosed
from oneshot_queue.store.transport.connection import AsyncConnection, SyncConnection
from oneshot_queue.store.transport.driver import CLOSE_TIMEOUT_S
from oneshot_queue.store.transport.pubsub import Announcements, BlockingSubscription, Subscription

T = TypeVar("T")
Stream = Generator[Effect | OutputChunk, Any, Any]


class _Progress:
    """A running verb: the effect or chunk it yielded last, or its result."""

    def __init__(self, verb: Generator[Any, Any, Any]) -> None:
        self._verb = verb
        self.ended = False
        self.result: Any = None
        self.current: Effect | OutputChunk | None = None
        self.send(None)

    def send(self, reply: object) -> None:
        """Resume the verb with the result of its effect."""
        self._advance(lambda: self._verb.send(reply))

    def throw(self, problem: OneshotQueueError) -> None:
        """Resume the verb with the error of its effect."""
        self._advance(lambda: self._verb.throw(problem))

    def close(self) -> None:
        """Abandon the verb."""
        self._verb.close()

    def _advance(self, resume: Callable[[], Any]) -> None:
        try:
            self.current = resume()
        except StopIteration as end:
            self.current, self.ended, self.result = None, True, end.value


class AsyncDriver:
    """Runs verbs on asyncio, between ``open`` and ``aclose``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack: AsyncExitStack | None = None

    async def open(self) -> None:
        """Start the task that listens for announcements. Connections are made when they are first needed."""
        stack = AsyncExitStack()
        self._connection = AsyncConnection(self._url)
        self._announcements = Announcements(self._connection)
        stack.push_async_callback(self._connection.aclose)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._announcements.run)
        self._stack = stack

    async def aclose(self) -> None:
        """Close all connections."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()

    async def do(self, verb: Verb[T]) -> T:
        """Carry out a verb to its end."""
        self._check_open()
        progress, subscription = _Progress(verb), Subscription()
        try:
            while not progress.ended:
                await self._step(progress, subscription)
        finally:
            await self._finish(progress, subscription)
        result: T = progress.result
        return result

    async def stream(self, verb: Stream) -> AsyncGenerator[OutputChunk, None]:
        """Carry out a verb, and pass on the chunks it yields."""
        self._check_open()
        progress, subscription = _Progress(verb), Subscription()
        try:
            while not progress.ended:
                if isinstance(progress.current, OutputChunk):
                    yield progress.current
                    progress.send(None)
                else:
                    await self._step(progress, subscription)
        finally:
            await self._finish(progress, subscription)

    async def _step(self, progress: _Progress, subscription: Subscription) -> None:
        try:
            reply = await self._perform(progress.current, subscription)
        except OneshotQueueError as problem:
            progress.throw(problem)
        else:
            progress.send(reply)

    async def _perform(self, effect: Effect | OutputChunk | None, subscription: Subscription) -> Any:
        match effect:
            case RunCalls(calls):
                return await self._connection.run_many(calls)
            case Listen(channels, timeout_s):
                await self._announcements.subscribe(subscription, channels)
                return await subscription.wait_for_message(timeout_s)
            case Sleep(seconds):
                return await anyio.sleep(seconds)
            case OutputChunk() | None:
                return None
            case _:
                assert_never(effect)

    async def _finish(self, progress: _Progress, subscription: Subscription) -> None:
        progress.close()
        if subscription.channels:
            with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await self._announcements.unsubscribe(subscription)

    def _check_open(self) -> None:
        if self._stack is None:
            raise QueueClosed


class SyncDriver:
    """Runs verbs and blocks until each returns. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = SyncConnection(url)

    def open(self) -> None:
        """Make a closed driver usable again. Connections are made when they are first needed."""
        if self._connection.is_closed:
            self._connection = SyncConnection(self._url)

    def close(self) -> None:
        """Close all connections. A verb running in another thread fails at its next call to Redis."""
        self._connection.close()

    def do(self, verb: Verb[T]) -> T:
        """Carry out a verb to its end."""
        progress = _Progress(verb)
        for _ in self._chunks(progress):
            pass
        result: T = progress.result
        return result

    def stream(self, verb: Stream) -> Generator[OutputChunk, None, None]:
        """Carry out a verb, and pass on the chunks it yields."""
        return self._chunks(_Progress(verb))

    def _chunks(self, progress: _Progress) -> Generator[OutputChunk, None, None]:
        subscription = BlockingSubscription(self._connection)
        try:
            while not progress.ended:
                if isinstance(progress.current, OutputChunk):
                    yield progress.current
                    progress.send(None)
                    continue
                try:
                    reply = self._perform(progress.current, subscription)
                except OneshotQueueError as problem:
                    progress.throw(problem)
                else:
                    progress.send(reply)
        finally:
            progress.close()
            subscription.close()

    def _perform(self, effect: Effect | None, subscription: BlockingSubscription) -> Any:
        match effect:
            case RunCalls(calls):
                return self._connection.run_many(calls)
            case Listen(channels, timeout_s):
                return subscription.wait_for_message(channels, timeout_s)
            case Sleep(seconds):
                return time.sleep(seconds)
            case None:
                return None
            case _:
                assert_never(effect)
