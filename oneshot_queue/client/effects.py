"""What a verb asks of the world. Verbs are generators: they yield an effect, and are sent its result.

The asynchronous and the blocking queue each carry out these three effects, and nothing else; all that a verb *means* is
written once, in generators that do no I/O. An effect's error is thrown into the generator where the effect was yielded.
"""

from __future__ import annotations

import logging
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
"""How long a verb that waits for a job puts up with the broker's absence."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Carry out these calls in order, pipelined; sent back: a list with the answer or the error of each."""

    calls: Iterable[Call[Any]]


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait until something is announced on one of these channels, or the time is over.

    The first time it subscribes and comes back at once, so that the verb looks again at what it may have missed before.
    """

    channels: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


Effect = Ask | Hear | Pause
Verb = Generator[Effect, Any, T]


@dataclass(frozen=True, slots=True)
class Context:
    """What every verb of one queue needs to know.

    Attributes:
        by: Who asks, for the histories: ``user@host``.
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


def ask(call: Call[T]) -> Verb[T]:
    """Carry out one call and return its answer, or raise its error."""
    (answer,) = yield Ask([call])
    if isinstance(answer, Exception):
        raise answer
    result: T = answer
    return result


def ask_all(calls: Sequence[Call[T]]) -> Verb[list[T]]:
    """Carry out many calls, pipelined, and return their answers, or raise the first error."""
    answers: list[T] = yield Ask(calls)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def patiently(context: Context, calls: Sequence[Call[T]], deadline: float | None = None) -> Verb[list[T]]:
    """As ``ask_all``, but outlast an absence of the broker, which is logged; only for reads.

    Args:
        deadline: When the caller's own patience ends, on the context's clock.

    Raises:
        BrokerUnreachable: It stayed away until the deadline, or for ``OUTAGE_PATIENCE_S``.
    """
    patience_ends: float | None = None
    while True:
        try:
            answers = yield from ask_all(calls)
        except BrokerUnreachable as problem:
            now = context.clock.monotonic()
            if patience_ends is None:
                patience_ends = min(now + OUTAGE_PATIENCE_S, float("inf") if deadline is None else deadline)
                if now < patience_ends:
                    logger.warning("%s; waiting %.0f s for it", problem, patience_ends - now)
            if now >= patience_ends:
                raise
            yield Pause(min(0.5, patience_ends - now))
        else:
            if patience_ends is not None:
                logger.warning("the broker answers again")
            return answers
