"""The run loop of every service: pause, run one pass, log the first failure in a row."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from oneshot_queue.backoff import retry_delay
from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.workers.worker.outages import level_of

logger = logging.getLogger(__name__)

LONGEST_RETRY_S: Final = 2.0

Pause = Callable[[], Awaitable[object]]
"""Returns when the next pass is due: after a while, at a wake-up, or both."""


def every(period_s: float, *, spread: float = 0.0) -> Pause:
    """Pause for the same time before each pass.

    Args:
        spread: Part of the period by which a pause may be longer or shorter, so that many workers do not run at once.
    """

    async def pause() -> None:
        await anyio.sleep(period_s * random.uniform(1 - spread, 1 + spread) if spread else period_s)

    return pause


async def repeat(
    run_once: Callable[[], Awaitable[object]],
    pause: Pause | float,
    what: str,
    *,
    retry_s: float = 0.0,
    after_failure: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Pause, run one pass, and so on until cancelled.

    ``level_of`` chooses the level at which a failed pass is logged. A broker that refuses is retried like one that is
    unreachable: a password that is wrong for a while must not end a service.

    Args:
        pause: Waits until the next pass is due, or the seconds between two passes.
        what: What a pass does, as a phrase that follows "cannot".
        retry_s: Seconds to wait after the first failed pass, in addition to the pause; they double with every further
            failure, up to ``LONGEST_RETRY_S``. With 0, only the pause separates two passes.
        after_failure: Called after a failed pass, before the failure is logged.
    """
    wait = every(pause) if isinstance(pause, int | float) else pause
    failures = 0
    while True:
        await wait()
        try:
            await run_once()
        except OneshotQueueError as problem:
            failures += 1
            if after_failure is not None:
                await after_failure()
            logger.log(level_of(problem, failures), "cannot %s: %s", what, problem)
            if retry_s:
                spread = random.uniform(0.5, 1.0)
                await anyio.sleep(retry_delay(failures, base_s=retry_s, cap_s=LONGEST_RETRY_S, spread=spread))
        else:
            failures = 0
