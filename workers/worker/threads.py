"""Blocking work, such as an ``fsync``, that must not hold up the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

Result = TypeVar("Result")


async def run_blocking(work: Callable[[], Result]) -> Result:
    """Do it in a thread; in the event loop itself where the host allows no further thread: late is better than never.

    Raises:
        Exception: What the work raised.
    """
    has_begun = False

    def begun() -> Result:
        nonlocal has_begun
        has_begun = True
        return work()

    try:
        return await anyio.to_thread.run_sync(begun)
    except RuntimeError:
        if has_begun:
            raise
        return work()
