"""RQ.

By its notes on performance, ``SimpleWorker``, which does not fork for each job, is six times as fast as ``Worker``.
``rq worker-pool`` starts several workers. ``enqueue_many`` uses one pipeline.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import redis
import rq
from rq.job import Job

from tests.bench.peers.driving import SLOTS, URL, Outcome, run_command

DISTRIBUTION: Final = "rq"
SETUP: Final = f"rq worker-pool -n {SLOTS} -w rq.worker.SimpleWorker; Queue.enqueue_many"
WORKERS: Final = (
    (
        *("rq", "worker-pool", "--quiet", "--num-workers", str(SLOTS), "--worker-class", "rq.worker.SimpleWorker"),
        *("--url", os.environ[URL], "bench"),
    ),
)


class RQ:
    """The queue as a producer sees it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._queue = rq.Queue("bench", connection=client)
        self._before = 0
        self._ids: list[str] = []

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue through one pipeline."""
        self._before = self._queue.finished_job_registry.get_job_count(cleanup=False)
        # An explicit description saves RQ from building one.
        calls = [rq.Queue.prepare_data(run_command, args=(argv,), description="") for argv in commands]
        self._ids = [job.id for job in self._queue.enqueue_many(calls)]

    async def unfinished(self) -> int:
        """One ZCARD: a job is added to this registry in the transaction that stores its result."""
        return self._before + len(self._ids) - int(self._queue.finished_job_registry.get_job_count(cleanup=False))

    async def outcomes(self) -> list[Outcome]:
        """The latest result of each job."""
        jobs = Job.fetch_many(self._ids, connection=self._client)
        return [job.return_value() for job in jobs]


@asynccontextmanager
async def producing() -> AsyncIterator[RQ]:
    """Connect."""
    with redis.Redis.from_url(os.environ[URL]) as client:
        yield RQ(client)
