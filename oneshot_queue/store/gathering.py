"""What is to be said to a server in the same turn of the event loop is said together.

A worker has the end of one job to write and room for the next in the same instant: one exchange costs half of two, and
the job that is claimed comes no later than the end is on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from oneshot_queue.store.calls import Call
from oneshot_queue.store.routes import Failed, Said

Say = Callable[[Sequence[Call[Any]]], Awaitable[Said | Failed]]


class Gatherer:
    """Joins calls; each caller gets the answers to its own.

    Args:
        say: Carries out calls in order.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._guests: list[_Guest] | None = None

    async def say(self, calls: Sequence[Call[Any]]) -> Said | Failed:
        """Carry out calls in order, after those of whoever came before in this turn.

        If the first of them is cancelled meanwhile, nobody knows what was carried out, as when a connection fails.
        """
        if self._guests is not None:
            guest = _Guest(calls)
            self._guests.append(guest)
            return await guest.answer
        others: list[_Guest] = []
        self._guests = others
        try:
            try:
                await asyncio.sleep(0)
            finally:
                self._guests = None
            if not others:
                return await self._say(calls)
            came = await self._say([*calls, *(call for guest in others for call in guest.calls)])
        except BaseException as error:
            lost = error if isinstance(error, Exception) else ConnectionError("cancelled by whom it was said with")
            for guest in others:
                guest.take(Failed(lost, was_sent=True))
            raise
        at = len(calls)
        for guest in others:
            guest.take(came if isinstance(came, Failed) else _part(came, at, len(guest.calls)))
            at += len(guest.calls)
        return came if isinstance(came, Failed) else _part(came, 0, len(calls))


class _Guest:
    """Whose calls are said by another."""

    def __init__(self, calls: Sequence[Call[Any]]) -> None:
        self.calls = calls
        self.answer: asyncio.Future[Said | Failed] = asyncio.get_running_loop().create_future()

    def take(self, came: Said | Failed) -> None:
        if not self.answer.done():
            self.answer.set_result(came)


def _part(said: Said, start: int, count: int) -> Said:
    return Said(said.calls[start : start + count], said.replies[start : start + count])
