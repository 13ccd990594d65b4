"""The result of an attempt, or its return to the queue, with everything that has to be recorded about it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oneshot_queue.backoff import retry_delay
from oneshot_queue.outcomes import Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.spec import JobSpec
from oneshot_queue.store import attempts, claims
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.wire.chunks import Chunk, pack_chunks


@dataclass(frozen=True, slots=True)
class Completion:
    """The result of an attempt. Recording it is idempotent.

    Attributes:
        ended_s: When the attempt ended, monotonic.
        started_s: When its process was started, monotonic; ``None`` if it was not.
        inline: The whole output, if it is small and none of it was sent before.
        kept: Bytes of output that are kept.
        fields: More fields of the job's record.
        retry_after_s: Seconds until the next attempt may begin; ``None`` if this was the last.
    """

    keys: QueueKeys
    job_id: str
    attempt: int
    holder: Holder
    outcome: Outcome
    ended_s: float
    started_s: float | None
    inline: tuple[Chunk, ...]
    kept: int
    fields: Mapping[str, Word]
    retry_after_s: float | None

    def finish(self, now_s: float, settings: Settings) -> Call[Any]:
        """Return the call that records it."""
        return attempts.finish(
            self.keys,
            self.job_id,
            self.holder,
            self.outcome,
            ago_ms=_ago_ms(self.ended_s, now_s),
            inline_output=pack_chunks(list(self.inline)) if self.inline else b"",
            kept=self.kept,
            fields=self.fields,
            settings=settings,
            retry_after_s=self.retry_after_s,
        )

    def again(self, now_s: float, host: str, settings: Settings) -> list[Call[Any]]:
        """Return the calls that restore it on a server that may have lost it: first the claim, then the result."""
        return [self._adopt(now_s, host), self.finish(now_s, settings)]

    def _adopt(self, now_s: float, host: str) -> Call[bool]:
        ago_ms = _ago_ms(self.ended_s if self.started_s is None else self.started_s, now_s)
        return claims.adopt(self.keys, self.job_id, self.holder, attempt=self.attempt, host=host, ago_ms=ago_ms)


@dataclass(frozen=True, slots=True)
class Requeue:
    """A job that returns to its queue because it never started here.

    Attributes:
        why: One word for the history.
    """

    keys: QueueKeys
    job_id: str
    holder: Holder
    why: str

    def give_back(self, settings: Settings) -> Call[Any]:
        """Return the call that gives the job back to its queue."""
        return claims.give_back(self.keys, self.job_id, self.holder, why=self.why, is_counted=False, settings=settings)

    def again(self, now_s: float, host: str, settings: Settings) -> list[Call[Any]]:  # noqa: ARG002 - as ``Completion``
        """Return the calls that repeat it. If the server lost the claim too, the job is waiting anyway."""
        return [self.give_back(settings)]


def delay_before_retry_s(spec: JobSpec | None, outcome: Outcome) -> float | None:
    """Return the seconds until the next attempt may begin, spread at random; ``None`` if no attempt follows."""
    if spec is None or not spec.begins_again(outcome):
        return None
    spread = random.uniform(0.5, 1.0)
    return retry_delay(outcome.attempt, base_s=spec.retry_delay, cap_s=spec.retry_max_delay, spread=spread)


def _ago_ms(at_s: float, now_s: float) -> int:
    return max(0, round((now_s - at_s) * 1000))
