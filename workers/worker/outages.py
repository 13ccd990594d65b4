"""Whether the broker can be reached, as people are told: once when it cannot, once when it can again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerError, BrokerUnreachable
from oneshot_queue.store.transport.refusals import is_damage

logger = logging.getLogger(__name__)


class OutageLog:
    """Hears of every exchange, and speaks only when something changes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lost_s: float | None = None

    def note(self, problem: BrokerUnreachable | None) -> None:
        """An exchange has failed, or has not."""
        if problem is None:
            if self._lost_s is not None:
                logger.warning("the broker answers again, after %.1f s", self._clock.monotonic() - self._lost_s)
                self._lost_s = None
        elif self._lost_s is None:
            self._lost_s = self._clock.monotonic()
            logger.warning("running jobs go on without the broker: %s", problem)


def level_of(problem: Exception, failures: int) -> int:
    """How loud a duty that fails again and again has to be: that the broker is away need not be said by each."""
    return logging.DEBUG if failures > 1 or isinstance(problem, BrokerUnreachable) else logging.WARNING


T = TypeVar("T")
logger = logging.getLogger(__name__)


async def skip_damaged(step: Awaitable[T], *, otherwise: T) -> T:
    """Take a step, or say what is damaged and answer ``otherwise``.

    Raises:
        BrokerError: The broker is out of reach, or refuses for another reason.
    """
    try:
        return await step
    except BrokerError as problem:
        if not is_damage(problem):
            raise
        logger.error("stepping over what is damaged: %s", problem)
        return otherwise
