"""Watches the results of a queue's jobs: state, time, cause and exit code must never change."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import redis

from oneshot_queue import JobState
from oneshot_queue.states import FINAL_STATES
from tests.support.deployment import Deployment
from tests.support.waiting import TIMEOUT_S

_LOOK_S: Final = 0.05
_READ_AGAIN: Final = 50
_FIELDS: Final = ("state", "cause", "exit_code", "signal", "attempt", "ended")


@dataclass(frozen=True, slots=True)
class _Result:
    """The state of a finished job in the index, and the fields of its result."""

    state: JobState
    at_ms: float
    fields: tuple[bytes | None, ...]


class ResultWatcher:
    """Reads the results of a queue's jobs again and again, and records every change.

    Attributes:
        changes: Descriptions of the changes.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._seen: dict[str, _Result] = {}
        self._next = 0
        self._looks = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._failure: Exception | None = None
        self.changes: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        if kind is None:
            self.assert_watching()

    @property
    def watched(self) -> int:
        """Number of results that were seen."""
        with self._lock:
            return len(self._seen)

    def assert_watching(self) -> None:
        """Fail unless the results were read at least once.

        Raises:
            AssertionError: They were not, or watching failed for another reason than an absent server.
        """
        assert self._failure is None, f"the results were not watched: {self._failure!r}"
        assert self._looks, "the results were not watched: the server never answered"

    def look(self, client: Any, *, at_all: bool = False) -> None:
        """Read the index, the records of jobs that have just ended, and some known records again.

        Args:
            client: The Redis client to read with.
            at_all: Read all known records again.
        """
        with self._lock:
            indexed = {
                raw.decode(): (state, at_ms)
                for state in JobState
                for raw, at_ms in client.zrange(self._deployment.keys.state(state), 0, -1, withscores=True)
            }
            for job_id, (state, at_ms) in indexed.items():
                former = self._seen.get(job_id)
                if former is not None and (former.state, former.at_ms) != (state, at_ms):
                    self.changes.append(f"{job_id} ended as {former} and is now indexed as {state} since {at_ms:.0f}")
            ended = {job_id: where for job_id, where in indexed.items() if where[0] in FINAL_STATES}
            fresh = [job_id for job_id in ended if job_id not in self._seen]
            again = [job_id for job_id in (self._seen if at_all else self._some()) if job_id in ended]
            for job_id, fields in self._read(client, [*fresh, *again]).items():
                former = self._seen.setdefault(job_id, _Result(*ended[job_id], fields))
                if former.fields != fields:
                    self.changes.append(f"{job_id} ended as {former} and its record now contains {fields}")
            self._looks += 1

    def _some(self) -> Collection[str]:
        known = list(self._seen)
        some = known[self._next : self._next + _READ_AGAIN]
        self._next = self._next + _READ_AGAIN if some else 0
        return some

    def _read(self, client: Any, job_ids: Collection[str]) -> dict[str, tuple[bytes | None, ...]]:
        with client.pipeline(transaction=False) as reading:
            for job_id in job_ids:
                reading.hmget(self._deployment.keys.job(job_id), _FIELDS)
            answers = reading.execute()
        # A record without a state was removed meanwhile: that is no change of its result.
        return {job_id: tuple(each) for job_id, each in zip(job_ids, answers, strict=True) if each[0] is not None}

    def _watch(self) -> None:
        with redis.Redis.from_url(self._deployment.url, socket_timeout=2, retry=None, protocol=2) as client:
            while not self._stop.wait(_LOOK_S):
                try:
                    self.look(client)
                except redis.RedisError:
                    continue  # the server is away: these tests do that
                except Exception as failure:  # noqa: BLE001 - reported by assert_watching
                    self._failure = failure
                    return
