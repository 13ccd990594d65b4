"""What is damaged in Redis: stepped over, so that it holds up nothing else."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from oneshot_queue.errors import BrokerError
from oneshot_queue.store.refusals import is_damage

T = TypeVar("T")
logger = logging.getLogger(__name__)


async def past_damage(step: Awaitable[T], *, otherwise: T) -> T:
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
