"""What is to be said to a server in the same turn of the event loop is said together.

A worker has the end of one job to write and room for the next in the same instant: one exchange costs half of two, and
the job that is claimed comes no later than the end is on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from oneshot_queue.store.calls import Call
from oneshot_queue.store.transport.routes import Failed, Said

Say = Callable[[Sequence[Call[Any]]], Awaitable[Said | Failed]]


class Coalescer:
    """Joins calls; each caller gets the answers to its own.

    The exchange is nobody's: a caller that is cancelled takes none of the others along.

    Args:
        say: Carries out calls in order.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._callers: list[_Caller] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def say(self, calls: Sequence[Call[Any]]) -> Said | Failed:
        """Carry out calls in order, after those of whoever came before in this turn."""
        caller = _Caller(calls)
        self._callers.append(caller)
        if len(self._callers) == 1:
            exchange = asyncio.create_task(self._exchange())  # noqa: TID251 - its own time limits end it
            self._under_way.add(exchange)
            exchange.add_done_callback(self._under_way.discard)
        return await caller.answer

    async def _exchange(self) -> None:
        # It begins in the next turn; whoever was cancelled until then has said nothing.
        callers = [each for each in self._callers if not each.answer.done()]
        self._callers = []
        if not callers:
            return
        try:
            came = await self._say([call for each in callers for call in each.calls])
        except BaseException as error:
            for each in callers:
                each.fail(error)
            if not isinstance(error, Exception):
                raise
            return
        at = 0
        for each in callers:
            each.take(came if isinstance(came, Failed) else _part(came, at, len(each.calls)))
            at += len(each.calls)


class _Caller:
    """Who waits for an answer."""

    def __init__(self, calls: Sequence[Call[Any]]) -> None:
        self.calls = calls
        self.answer: asyncio.Future[Said | Failed] = asyncio.get_running_loop().create_future()

    def take(self, came: Said | Failed) -> None:
        if not self.answer.done():
            self.answer.set_result(came)

    def fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.answer.cancel()
        elif not self.answer.done():
            self.answer.set_exception(error)


def _part(said: Said, start: int, count: int) -> Said:
    return Said(said.calls[start : start + count], said.replies[start : start + count])
