"""Calls back when descriptors can be read: for many that live briefly, at the price of one to the event loop.

A command has three descriptors to watch, for a millisecond perhaps. To the loop itself each would cost a handle, a key
of its selector and four layers of calls, twice.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

MOST_A_TURN: Final = 1
"""Callbacks of the patient in a turn of the loop, each of which may read 64 KiB: the next takes his in the next one,
and everybody else, who has little to do, in between."""


class Readiness:
    """Epolls of its own, within that of the loop that runs when something is first watched.

    What a callback raises is reported by the loop; the others are called in its next turn.

    Raises:
        OSError: On creation: this process has no descriptor to spare.
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
        """Have this called in every turn of the loop in which the descriptor is readable, or at its end.

        Args:
            is_patient: It may be readable for long, as others of its kind: they take turns.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._urgent.fileno(), self._call_back, self._urgent, -1)
            self._loop.add_reader(self._patient.fileno(), self._call_back, self._patient, MOST_A_TURN)
        epoll = self._patient if is_patient else self._urgent
        epoll.register(descriptor, select.EPOLLIN)
        self._callbacks[descriptor] = epoll, callback

    def forget(self, descriptor: int) -> None:
        """Watch it no more; to be called before it is closed. Nothing happens if it is not watched."""
        watched = self._callbacks.pop(descriptor, None)
        if watched is not None:
            watched[0].unregister(descriptor)

    def close(self) -> None:
        """Watch nothing more; once more does nothing."""
        self._callbacks.clear()
        for epoll in (self._urgent, self._patient):
            if self._loop is not None and not epoll.closed:
                self._loop.remove_reader(epoll.fileno())
            epoll.close()

    def _call_back(self, epoll: select.epoll, most: int) -> None:
        ready = [(descriptor, self._callbacks.get(descriptor)) for descriptor, _ in epoll.poll(0, most)]
        for descriptor, watched in ready:
            # Another callback may have closed it, and its number may be that of a new one.
            if watched is not None and self._callbacks.get(descriptor) is watched:
                watched[1]()
