"""A fake worker that runs nothing: it holds a lease, and claims and ends jobs when a test tells it to.

It does what no real worker does on request: it stops responding, loses a job, or stores output with gaps.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from oneshot_queue.clock import SystemClock
from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store import attempts, claims, leases, presence
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.calls import Call, plain
from oneshot_queue.store.claims import Claim, Claimed
from oneshot_queue.store.keys import QueueKeys, presence_key
from oneshot_queue.store.transport.connection import SyncConnection
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk
from oneshot_queue.wire.presences import WorkerPresence

T = TypeVar("T")


class PretendWorker:
    """Holds a lease on one queue; if ``is_seen``, it is also listed as a live worker."""

    def __init__(self, url: str, namespace: str, queue: str = "default", *, is_seen: bool = True) -> None:
        self.keys = QueueKeys(namespace, queue)
        self.name = "pretender"
        self.lease = "pretender.1"
        self._namespace = namespace
        self._is_seen = is_seen
        self._connection = SyncConnection(url)

    def __enter__(self) -> Self:
        self.ask(leases.register(self.keys, self.lease, 30.0))
        if self._is_seen:
            shown = self._presence()
            self.ask(presence.show_presence(self._namespace, shown))
            # Nothing renews it here, and a test may take long.
            self.ask(plain("PERSIST", presence_key(self._namespace, shown.id), read=int))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._connection.close()

    def ask(self, call: Call[T]) -> T:
        """Run one call."""
        (answer,) = self._connection.run_many([call])
        assert not isinstance(answer, Exception), answer
        result: T = answer
        return result

    def claim(self, job_id: str) -> Claim:
        """Claim a waiting job."""
        call = claims.claim_one(
            self.keys, job_id, lease=self.lease, worker=self.name, host="elsewhere", settings=Settings()
        )
        answer = self.ask(call)
        assert isinstance(answer, Claimed), answer
        (claim,) = answer.claims
        return claim

    def write(self, claim: Claim, chunks: Sequence[tuple[int, OutputStream, int, bytes]], *, total: int) -> None:
        """Store output.

        Args:
            chunks: Ordinal, stream, offset and data of each chunk.
            total: Bytes that the job has written so far.
        """
        now_ms = SystemClock().now_ms()
        rows = [(Chunk(ordinal, stream, offset, now_ms, data), True) for ordinal, stream, offset, data in chunks]
        kept = sum(len(data) for _, _, _, data in chunks)
        self.ask(
            attempts.append_output(
                self.keys,
                claim.job_id,
                claim.attempt,
                self._holder(claim),
                rows,
                total=total,
                dropped=total - kept,
                now_ms=now_ms,
                tail_from=(1, 1),
            )
        )

    def finish(self, claim: Claim, state: JobState, cause: Cause, **fields: Any) -> None:
        """End a job."""
        self._finish(claim, Outcome(state, cause, usage=Usage(0.25, 0.125, 1_048_576), **fields))

    def retry(self, claim: Claim, *, kept: int) -> None:
        """End an attempt with ``kept`` bytes of output, and let the next one start at once."""
        self._finish(claim, Outcome(JobState.FAILED, Cause.EXIT, exit_code=1), kept=kept, retry_after_s=0.0)

    def _finish(self, claim: Claim, outcome: Outcome, *, kept: int = 0, retry_after_s: float | None = None) -> None:
        self.ask(
            attempts.finish(
                self.keys,
                claim.job_id,
                self._holder(claim),
                outcome,
                ago_ms=0,
                inline_output=b"",
                kept=kept,
                fields={},
                settings=Settings(),
                retry_after_s=retry_after_s,
            )
        )

    def _holder(self, claim: Claim) -> Holder:
        return Holder(claim.token, self.lease, self.name)

    def _presence(self) -> WorkerPresence:
        now_ms = SystemClock().now_ms()
        return WorkerPresence(
            id="pretender",
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=(self.keys.queue,),
            concurrency=3,
            running=(),
            started_ms=now_ms - 60_000,
            seen_ms=now_ms,
        )
