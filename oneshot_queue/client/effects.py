"""The effects that verbs yield, and the helpers to yield them. A verb is a generator that does no I/O.

A driver performs each effect and sends its result into the generator. If the effect fails, the driver throws the error
into the generator at the ``yield``. There are three effects, performed once for asyncio and once blocking, so each verb
is written only once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.settings import Settings
from oneshot_queue.store.calls import Call
from oneshot_queue.store.keys import QueueKeys

logger = logging.getLogger(__name__)

T = TypeVar("T")

OUTAGE_PATIENCE_S: Final = 30.0
"""How long a verb that waits for a job retries while the broker is unreachable."""
RECHECK_S: Final = 1.0
"""Pub/sub messages can be lost, so a waiting verb reads the job again at least this often."""


@dataclass(frozen=True, slots=True)
class RunCalls:
    """Run these calls in order, pipelined. The result is a list with the answer or the error of each call."""

    calls: Iterable[Call[Any]]


@dataclass(frozen=True, slots=True)
class Listen:
    """Wait for a message on one of these channels, or until the timeout.

    The first time it only subscribes and returns at once, so that the verb reads again what it may have missed.
    """

    channels: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing for a while."""

    seconds: float


Effect = RunCalls | Listen | Sleep
Verb = Generator[Effect, Any, T]


@dataclass(frozen=True, slots=True)
class Context:
    """What every verb of one queue needs to know.

    Attributes:
        by: The caller as recorded in job histories: ``user@host``.
    """

    settings: Settings
    queue: str
    clock: Clock
    by: str

    @property
    def namespace(self) -> str:
        """The prefix of all keys."""
        return self.settings.namespace

    @property
    def keys(self) -> QueueKeys:
        """The keys of this queue."""
        return self.keys_of(self.queue)

    def keys_of(self, queue: str) -> QueueKeys:
        """The keys of any queue of the same namespace."""
        return QueueKeys(self.settings.namespace, queue)

    def for_queue(self, queue: str) -> Context:
        """The same context for another queue."""
        return Context(self.settings, queue, self.clock, self.by)


def run_call(call: Call[T]) -> Verb[T]:
    """Run one call and return its answer, or raise its error."""
    (answer,) = yield RunCalls([call])
    if isinstance(answer, Exception):
        raise answer
    result: T = answer
    return result


def run_calls(calls: Sequence[Call[T]]) -> Verb[list[T]]:
    """Run several calls, pipelined, and return their answers, or raise the first error."""
    answers: list[T] = yield RunCalls(calls)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def read_with_retries(context: Context, calls: Sequence[Call[T]], deadline: float | None = None) -> Verb[list[T]]:
    """Like ``run_calls``, but retry while the broker is unreachable, and log the outage. Only for reads.

    Args:
        deadline: When to give up at the latest, on the context's monotonic clock.

    Raises:
        BrokerUnreachable: The broker was unreachable until the deadline, or for ``OUTAGE_PATIENCE_S``.
    """
    patience_ends: float | None = None
    while True:
        try:
            answers = yield from run_calls(calls)
        except BrokerUnreachable as problem:
            now = context.clock.monotonic()
            if patience_ends is None:
                patience_ends = min(now + OUTAGE_PATIENCE_S, float("inf") if deadline is None else deadline)
                if now < patience_ends:
                    logger.warning("%s; retrying for %.0f s", problem, patience_ends - now)
            if now >= patience_ends:
                raise
            yield Sleep(min(0.5, patience_ends - now))
        else:
            if patience_ends is not None:
                logger.warning("the broker answers again")
            return answers


def wait_for_message(channels: Iterable[str], left_s: float = math.inf) -> Verb[None]:
    """Wait for a message on one of these channels, at most ``RECHECK_S`` and at most ``left_s`` seconds."""
    yield Listen(tuple(channels), min(left_s, RECHECK_S))
