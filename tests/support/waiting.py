"""The one way to wait in a test for something that tells nobody: a file, an entry in /proc, a key in Redis.

Whoever can wait for an event does that instead. There is one limit for all, far above what anything takes, so that a
slow machine never makes a test red; and what was seen last stands in the failure.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

LIMIT_S: Final = 20.0
_INTERVAL_S: Final = 0.005

T = TypeVar("T")


def wait_until(
    observe: Callable[[], T], until: Callable[[T], object] = bool, *, what: str = "", limit_s: float = LIMIT_S
) -> T:
    """Observe until it is so, and return what was observed then.

    Args:
        observe: Looks once; cheap.
        until: Says whether this is it; the default asks for anything true.
        what: What is waited for, for the failure.
        limit_s: Another limit, where how long it may take is a promise.

    Raises:
        AssertionError: It did not come to pass within the limit.
    """
    deadline = time.monotonic() + limit_s
    while True:
        seen = observe()
        if until(seen):
            return seen
        assert time.monotonic() < deadline, _failure(observe, what, seen, limit_s)
        time.sleep(_INTERVAL_S)


async def eventually(
    observe: Callable[[], T | Awaitable[T]], until: Callable[[T], object] = bool, *, what: str = ""
) -> T:
    """Do the same in an event loop; ``observe`` may be a plain or an async function.

    Raises:
        AssertionError: It did not come to pass within the limit.
    """
    deadline = time.monotonic() + LIMIT_S
    while True:
        answer = observe()
        seen: T = await answer if inspect.isawaitable(answer) else answer
        if until(seen):
            return seen
        assert time.monotonic() < deadline, _failure(observe, what, seen)
        await anyio.sleep(_INTERVAL_S)


def _failure(observe: Callable[[], object], what: str, seen: object, limit_s: float = LIMIT_S) -> str:
    return f"waited {limit_s:g} s for {what or getattr(observe, '__qualname__', observe)}; last seen: {seen!r}"
