"""Sends calls that are made in the same turn of the event loop to a server together.

When a job ends, a worker records its result and claims the next job at the same moment. Both travel in one exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from oneshot_queue.store.calls import Call
from oneshot_queue.store.transport.routes import ConnectionFailed, Replied

SendCalls = Callable[[Sequence[Call[Any]]], Awaitable[Replied | ConnectionFailed]]


class Coalescer:
    """Joins calls into one exchange; each caller gets the replies to its own.

    The exchange runs in a task of its own, so a cancelled caller does not cancel the others.

    Args:
        send: Carries out calls in order.
    """

    def __init__(self, send: SendCalls) -> None:
        self._send = send
        self._callers: list[_Caller] = []
        self._running: set[asyncio.Task[None]] = set()

    async def exchange(self, calls: Sequence[Call[Any]]) -> Replied | ConnectionFailed:
        """Carry out calls in order, after those of earlier callers in this turn."""
        caller = _Caller(calls)
        self._callers.append(caller)
        if len(self._callers) == 1:
            task = asyncio.create_task(self._exchange())  # noqa: TID251 - its own time limits end it
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await caller.answer

    async def _exchange(self) -> None:
        # This runs in the next turn; callers cancelled before it send nothing.
        callers = [each for each in self._callers if not each.answer.done()]
        self._callers = []
        if not callers:
            return
        try:
            result = await self._send([call for each in callers for call in each.calls])
        except BaseException as error:
            for each in callers:
                each.fail(error)
            if not isinstance(error, Exception):
                raise
            return
        at = 0
        for each in callers:
            each.resolve(result if isinstance(result, ConnectionFailed) else _slice(result, at, len(each.calls)))
            at += len(each.calls)


class _Caller:
    """A caller that waits for its replies."""

    def __init__(self, calls: Sequence[Call[Any]]) -> None:
        self.calls = calls
        self.answer: asyncio.Future[Replied | ConnectionFailed] = asyncio.get_running_loop().create_future()

    def resolve(self, result: Replied | ConnectionFailed) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.answer.cancel()
        elif not self.answer.done():
            self.answer.set_exception(error)


def _slice(replied: Replied, start: int, count: int) -> Replied:
    return Replied(replied.calls[start : start + count], replied.replies[start : start + count])
