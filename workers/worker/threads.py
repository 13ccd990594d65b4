"""Runs blocking work, such as an ``fsync``, without blocking the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

Result = TypeVar("Result")


async def run_blocking(work: Callable[[], Result]) -> Result:
    """Run ``work`` in a thread and return its result. If no thread can be started, run it in the event loop itself.

    Raises:
        Exception: The error of ``work``.
    """
    has_begun = False

    def begin_work() -> Result:
        nonlocal has_begun
        has_begun = True
        return work()

    try:
        return await anyio.to_thread.run_sync(begin_work)
    except RuntimeError:
        if has_begun:
            raise
        return work()
