"""The two drivers: they carry out the effects that verbs yield, one for asyncio, one blocking."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack
from typing import Any, TypeVar, assert_never

import anyio

from oneshot_queue.client.effects import Ask, Effect, Hear, Pause, Verb
from oneshot_queue.client.verbs.logs import OutputChunk
from oneshot_queue.errors import OneshotQueueError, QueueClosed
from oneshot_queue.store.transport.connection import AsyncConnection, SyncConnection
from oneshot_queue.store.transport.driver import CLOSE_TIMEOUT_S
from oneshot_queue.store.transport.pubsub import Announcements, BlockingSubscription, Subscription

T = TypeVar("T")
Stream = Generator[Effect | OutputChunk, Any, Any]


class _Progress:
    """How far a verb has got: what it yielded last, or what it returned."""

    def __init__(self, verb: Generator[Any, Any, Any]) -> None:
        self._verb = verb
        self.ended = False
        self.result: Any = None
        self.current: Effect | OutputChunk | None = None
        self.send(None)

    def send(self, reply: object) -> None:
        """Run on with an effect's result."""
        self._advance(lambda: self._verb.send(reply))

    def throw(self, problem: OneshotQueueError) -> None:
        """Run on with an effect's error."""
        self._advance(lambda: self._verb.throw(problem))

    def close(self) -> None:
        """Give the verb up where it stands."""
        self._verb.close()

    def _advance(self, run_on: Callable[[], Any]) -> None:
        try:
            self.current = run_on()
        except StopIteration as end:
            self.current, self.ended, self.result = None, True, end.value


class AsyncDriver:
    """Carries out verbs on asyncio, from ``open`` to ``aclose``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack: AsyncExitStack | None = None

    async def open(self) -> None:
        """Begin to listen; connections are made when they are needed."""
        stack = AsyncExitStack()
        self._connection = AsyncConnection(self._url)
        self._announcements = Announcements(self._connection)
        stack.push_async_callback(self._connection.aclose)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._announcements.run)
        self._stack = stack

    async def aclose(self) -> None:
        """End all connections."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()

    async def do(self, verb: Verb[T]) -> T:
        """Carry out a verb to its end."""
        self._check_open()
        progress, ear = _Progress(verb), Subscription()
        try:
            while not progress.ended:
                await self._step(progress, ear)
        finally:
            await self._forget(progress, ear)
        result: T = progress.result
        return result

    async def stream(self, verb: Stream) -> AsyncGenerator[OutputChunk, None]:
        """Carry out a verb, and pass on the chunks it yields."""
        self._check_open()
        progress, ear = _Progress(verb), Subscription()
        try:
            while not progress.ended:
                if isinstance(progress.current, OutputChunk):
                    yield progress.current
                    progress.send(None)
                else:
                    await self._step(progress, ear)
        finally:
            await self._forget(progress, ear)

    async def _step(self, progress: _Progress, ear: Subscription) -> None:
        try:
            reply = await self._perform(progress.current, ear)
        except OneshotQueueError as problem:
            progress.throw(problem)
        else:
            progress.send(reply)

    async def _perform(self, effect: Effect | OutputChunk | None, ear: Subscription) -> Any:
        match effect:
            case Ask(calls):
                return await self._connection.run_many(calls)
            case Hear(channels, timeout_s):
                await self._announcements.subscribe(ear, channels)
                return await ear.wait_for_message(timeout_s)
            case Pause(seconds):
                return await anyio.sleep(seconds)
            case OutputChunk() | None:
                return None
            case _:
                assert_never(effect)

    async def _forget(self, progress: _Progress, ear: Subscription) -> None:
        progress.close()
        if ear.channels:
            with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await self._announcements.unsubscribe(ear)

    def _check_open(self) -> None:
        if self._stack is None:
            raise QueueClosed


class SyncDriver:
    """The same, blocking."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = SyncConnection(url)

    def open(self) -> None:
        """Begin anew if it was closed; connections are made when they are needed."""
        if self._connection.is_closed:
            self._connection = SyncConnection(self._url)

    def close(self) -> None:
        """End all connections; a verb under way in another thread ends with an error when it next speaks to Redis."""
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
        ear = BlockingSubscription(self._connection)
        try:
            while not progress.ended:
                if isinstance(progress.current, OutputChunk):
                    yield progress.current
                    progress.send(None)
                    continue
                try:
                    reply = self._perform(progress.current, ear)
                except OneshotQueueError as problem:
                    progress.throw(problem)
                else:
                    progress.send(reply)
        finally:
            progress.close()
            ear.close()

    def _perform(self, effect: Effect | None, ear: BlockingSubscription) -> Any:
        match effect:
            case Ask(calls):
                return self._connection.run_many(calls)
            case Hear(channels, timeout_s):
                return ear.wait_for_message(channels, timeout_s)
            case Pause(seconds):
                return time.sleep(seconds)
            case None:
                return None
            case _:
                assert_never(effect)
