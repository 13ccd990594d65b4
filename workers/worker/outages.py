"""Logs an outage of the broker once when it begins and once when it ends."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerError, BrokerUnreachable
from oneshot_queue.store.transport.refusals import is_damage

T = TypeVar("T")
logger = logging.getLogger(__name__)


class OutageLog:
    """Observes every exchange with the broker, and logs only when it becomes unreachable or answers again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lost_s: float | None = None

    def record(self, problem: BrokerUnreachable | None) -> None:
        """Record that an exchange has failed with this error, or succeeded (``None``)."""
        if problem is None:
            if self._lost_s is not None:
                logger.warning("the broker answers again, after %.1f s", self._clock.monotonic() - self._lost_s)
                self._lost_s = None
        elif self._lost_s is None:
            self._lost_s = self._clock.monotonic()
            logger.warning("running jobs go on without the broker: %s", problem)


def level_of(problem: Exception, failures: int) -> int:
    """Return the level at which to log a failure: WARNING for the first in a row, DEBUG for others and for outages.

    ``OutageLog`` logs each outage once for all services.
    """
    return logging.DEBUG if failures > 1 or isinstance(problem, BrokerUnreachable) else logging.WARNING


async def skip_damaged(step: Awaitable[T], *, otherwise: T) -> T:
    """Await a step and return its result; if a damaged key prevents it, log that and return ``otherwise``.

    Raises:
        BrokerError: The broker cannot be reached, or refuses for another reason.
    """
    try:
        return await step
    except BrokerError as problem:
        if not is_damage(problem):
            raise
        logger.error("skipping a damaged key: %s", problem)
        return otherwise
