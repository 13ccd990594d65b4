"""HyperQueue.

Its server, one worker with four cores, and the client, from the package with its Python API, which runs all of them in
one process. All commands are tasks of one job, as its documentation recommends. Each task's output goes to files;
streaming into one file is an option of the command line, which this package does not have. ``wait_for_jobs`` checks at
once and then once per second; we make it return after the first check.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn

from hyperqueue import Job, LocalCluster
from hyperqueue.client import Client
from hyperqueue.cluster import WorkerConfig

from tests.bench.peers.driving import SLOTS, Outcome

DISTRIBUTION: Final = "hyperqueue"
SETUP: Final = f"server and one worker with {SLOTS} cores (LocalCluster); one job with many tasks, output to files"
WORKERS: Final = ()


class _LookedError(Exception):
    """Ends a wait after its first check."""


class HyperQueue:
    """The queue as a producer sees it."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._job_id = 0

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue as one job."""
        self._output = self._folder / str(self._job_id + 1)
        self._output.mkdir()
        job = Job(default_workdir=self._output)
        for argv in commands:
            job.program(list(argv))
        self._job_id = self._client.submit(job).id

    async def unfinished(self) -> int:
        """One request to the server."""
        left = 0

        def look(jobs: dict[int, dict[str, int]]) -> NoReturn:
            nonlocal left
            left = sum(job["total"] - job["finished"] for job in jobs.values())
            raise _LookedError

        try:
            self._client.connection.wait_for_jobs((self._job_id,), look)
        except _LookedError:
            return left
        return 0

    async def outcomes(self) -> list[Outcome]:
        """The output files of each task; the server reports which tasks failed."""
        failed = self._client.connection.get_failed_tasks((self._job_id,))[self._job_id]
        return [
            (1 if int(path.stem) in failed else 0, path.read_text(), path.with_suffix(".stderr").read_text())
            for path in self._output.glob("*.stdout")
        ]


@asynccontextmanager
async def producing() -> AsyncIterator[HyperQueue]:
    """Start the server and the worker."""
    with tempfile.TemporaryDirectory(prefix="oq-") as folder, LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=SLOTS))
        yield HyperQueue(cluster.client(), Path(folder))
