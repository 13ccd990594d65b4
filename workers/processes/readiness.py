"""Calls back when descriptors can be read: for many that live briefly, at the price of one to the event loop.

A command has three descriptors to watch, for a millisecond perhaps. To the loop itself each would cost a handle, a key
of its selector and four layers of calls, twice.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable


class Readiness:
    """An epoll of its own, within that of the loop that runs when something is first watched.

    What a callback raises is reported by the loop; the others are called in its next turn.

    Raises:
        OSError: On creation: this process has no descriptor to spare.
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._epoll = select.epoll()
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Have this called in every turn of the loop in which the descriptor is readable, or at its end."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._epoll.fileno(), self._call_back)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Watch it no more; to be called before it is closed. Nothing happens if it is not watched."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing more."""
        self._callbacks.clear()
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _call_back(self) -> None:
        ready = [(descriptor, self._callbacks.get(descriptor)) for descriptor, _ in self._epoll.poll(0)]
        for descriptor, callback in ready:
            # Another callback may have closed it, and its number may be that of a new one.
            if callback is not None and self._callbacks.get(descriptor) is callback:
                callback()
