"""Calls back when a descriptor is readable. Many short-lived descriptors cost the event loop only two.

A command has three descriptors to watch, often for a millisecond. Registered with the event loop, each would cost a
handle, a selector key and four layers of calls, to add and to remove.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

MAX_PER_TURN: Final = 1
"""Callbacks of patient descriptors in one turn of the event loop. Each may read 64 KiB, so the next one waits for the
next turn, and everything else runs in between."""


class Readiness:
    """Two epolls, urgent and patient, which the event loop watches from the first ``watch`` on.

    The event loop reports the error of a callback. The remaining callbacks run in the next turn.

    Raises:
        OSError: On creation, if this process has no free descriptor.
    """

    def __init__(self) -> None:
        self._callbacks: dict[int, tuple[select.epoll, Callable[[], object]]] = {}
        self._urgent = select.epoll()
        try:
            self._patient = select.epoll()
        except OSError:
            self._urgent.close()
            raise
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, descriptor: int, callback: Callable[[], object], *, is_patient: bool = False) -> None:
        """Call ``callback`` in every turn of the event loop in which the descriptor is readable or at its end.

        Args:
            is_patient: Whether it takes turns with the other patient descriptors. Use it for descriptors that may stay
                readable for long, such as outputs.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._urgent.fileno(), self._call_back, self._urgent, -1)
            self._loop.add_reader(self._patient.fileno(), self._call_back, self._patient, MAX_PER_TURN)
        epoll = self._patient if is_patient else self._urgent
        epoll.register(descriptor, select.EPOLLIN)
        self._callbacks[descriptor] = epoll, callback

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor, if it is watched. To be called before it is closed."""
        watched = self._callbacks.pop(descriptor, None)
        if watched is not None:
            watched[0].unregister(descriptor)

    def close(self) -> None:
        """Stop watching everything. A second call does nothing."""
        self._callbacks.clear()
        for epoll in (self._urgent, self._patient):
            if self._loop is not None and not epoll.closed:
                self._loop.remove_reader(epoll.fileno())
            epoll.close()

    def _call_back(self, epoll: select.epoll, limit: int) -> None:
        ready = [(descriptor, self._callbacks.get(descriptor)) for descriptor, _ in epoll.poll(0, limit)]
        for descriptor, watched in ready:
            # An earlier callback may have closed it, and its number may now belong to a new descriptor.
            if watched is not None and self._callbacks.get(descriptor) is watched:
                watched[1]()
