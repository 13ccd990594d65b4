"""Waits for what announces nothing: a file, an entry in /proc, a key in Redis.

Tests wait for events where there are any.

All waits share one limit, far above what anything takes, so that a slow machine fails no test. A failure shows the last
value seen.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from tests.support.limits import limit_s as scaled_s

LIMIT_S: Final = 20.0
TIMEOUT_S: Final = scaled_s(LIMIT_S)
"""The same limit, scaled: for calls that take a timeout of their own."""
_INTERVAL_S: Final = 0.005

T = TypeVar("T")


def wait_until(
    observe: Callable[[], T], until: Callable[[T], object] = bool, *, what: str = "", limit_s: float | None = None
) -> T:
    """Observe until a value satisfies ``until``, and return that value.

    Args:
        observe: Looks once; cheap.
        until: Accepts a value; by default any true one.
        what: What the test waits for; shown in the failure.
        limit_s: Another limit in seconds, where the time it takes is a promise; scaled like every limit.

    Raises:
        AssertionError: No value was accepted within the limit.
    """
    limit_s = scaled_s(LIMIT_S if limit_s is None else limit_s)
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
        AssertionError: No value was accepted within the limit.
    """
    limit_s = scaled_s(LIMIT_S)
    deadline = time.monotonic() + limit_s
    while True:
        answer = observe()
        seen: T = await answer if inspect.isawaitable(answer) else answer
        if until(seen):
            return seen
        assert time.monotonic() < deadline, _failure(observe, what, seen, limit_s)
        await anyio.sleep(_INTERVAL_S)


def _failure(observe: Callable[[], object], what: str, seen: object, limit_s: float) -> str:
    return f"waited {limit_s:g} s for {what or getattr(observe, '__qualname__', observe)}; last seen: {seen!r}"
