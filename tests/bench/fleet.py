"""A private server and the workers on it: started warm, watched, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from oneshot_queue import SyncQueue
from oneshot_queue.client.blocking import SyncJob
from oneshot_queue.jobs import Priority
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store.keys import QueueKeys
from tests.servers import ServerProcess, kinds_for
from tests.waiting import wait_until
from workers.processes.procfs import children_of

QUEUE: Final = "bench"
TRUE: Final = ("/bin/true",)
WORKER_COMMAND: Final = (sys.executable, "-P", "-m", "workers")
WORKER_OPTIONS: Final = ("--drain-timeout", "0.5", "--quiet")
# SIGTERM from the kernel, should the benchmark die without a word: a worker then ends its jobs and itself.
_ENDING_WITH_PARENT: Final = (
    sys.executable,
    *("-I", "-S", "-c"),
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])",  # PR_SET_PDEATHSIG
)
LOOK_EVERY_S: Final = 0.01
STALLED_S: Final = 60.0
"""A queue that has not moved for so long will not move any more."""
STOP_S: Final = 30.0


class MeasurementSpoilt(Exception):
    """What was measured is not what should have been: a job ended otherwise, a worker died, nothing moves."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """One worker: its supervisor, how many processes that keeps, and the file they write their complaints to."""

    process: subprocess.Popen[bytes]
    processes: int
    log: Path

    @property
    def pid(self) -> int:
        """Its supervisor's process id."""
        return self.process.pid

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of what runs the jobs."""
        return children_of(self.pid)

    def check_alive(self) -> None:
        """Make sure that it still runs.

        Raises:
            MeasurementSpoilt: It does not; the message carries its last words.
        """
        if self.process.poll() is not None:
            words = self.log.read_text(errors="replace")[-2000:]
            raise MeasurementSpoilt(f"a worker ended with {self.process.returncode}:\n{words}")

    def stop(self) -> None:
        """End it, and the jobs it may have."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Fleet:
    """One queue on a private server, and the workers that are asked for."""

    def __init__(self, server: ServerProcess, client: redis.Redis, queue: SyncQueue) -> None:
        self.server = server
        self.client = client
        self.queue = queue
        self.keys = QueueKeys(Settings().namespace, QUEUE)
        self.workers: list[WorkerProcess] = []

    @property
    def url(self) -> str:
        """Where the server is."""
        return self.server.url

    def start_worker(
        self,
        processes: int,
        *,
        concurrency: int,
        warm_up: int,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> None:
        """Start a worker, wait until all its processes are there, and let them run some jobs.

        Args:
            processes: Worker processes under its supervisor.
            concurrency: Jobs that all of them together run at once.
            arguments: More words of their command lines.
            environment: More variables of theirs.
            url: Another way to the server.

        Raises:
            MeasurementSpoilt: One ended, or a job failed.
        """
        log = self.server.folder / f"worker-{len(self.workers)}"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [
                    *(*_ENDING_WITH_PARENT, *WORKER_COMMAND, "-q", QUEUE, "-c", str(concurrency)),
                    *("--processes", str(processes), *WORKER_OPTIONS, *arguments),
                ],
                env=_environment(url or self.url) | dict(environment or {}),
                cwd=self.server.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self.workers.append(WorkerProcess(process, processes, log))
        there = sum(worker.processes for worker in self.workers)
        wait_until(self._live_workers, lambda live: live == there, what="the worker to be there")
        if warm_up:
            jobs = self.enqueue([TRUE] * warm_up)
            self.wait_until_drained()
            self.check(jobs)

    def stop_workers(self) -> None:
        """End all workers."""
        while self.workers:
            self.workers.pop().stop()

    @contextmanager
    def frozen_workers(self) -> Iterator[None]:
        """Hold the workers still, so that a queue fills up; they go on where they stood."""
        pids = [pid for worker in self.workers for pid in worker.worker_pids]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def enqueue(self, commands: Sequence[Sequence[str]]) -> list[SyncJob]:
        """Store jobs.

        Raises:
            MeasurementSpoilt: One was refused.
        """
        return accepted(self.queue.enqueue_many(commands))

    def unfinished(self) -> int:
        """How many jobs wait or run; one round trip of the cheapest kind."""
        return int(self.client.xlen(self.keys.ready(Priority.NORMAL)))

    def wait_until_drained(self) -> float:
        """Wait until no job waits or runs; returns when that was seen, by ``time.perf_counter``.

        Raises:
            MeasurementSpoilt: A worker ended, or nothing moves.
        """
        left, moved_at = self.unfinished(), time.perf_counter()
        while left:
            time.sleep(LOOK_EVERY_S)
            before, left = left, self.unfinished()
            now = time.perf_counter()
            if left != before:
                moved_at = now
            elif now - moved_at > 1:
                self._check_workers()
                if now - moved_at > STALLED_S:
                    raise MeasurementSpoilt(f"{left} jobs are left, and none has ended for {STALLED_S:g} s")
        drained_at = time.perf_counter()
        self._check_workers()
        return drained_at

    def check(self, jobs: Sequence[SyncJob], state: JobState = JobState.COMPLETED, *, output_bytes: int = 0) -> None:
        """Read back how every job ended.

        Raises:
            MeasurementSpoilt: One did not end in ``state``, or wrote another amount.
        """
        expected = (str(state), str(output_bytes or ""))
        found = Counter(
            (state or "no such job", written or "") for state, written in self.fields(jobs, "state", "bytes")
        )
        if set(found) - {expected}:
            raise MeasurementSpoilt(f"{len(jobs)} jobs should have ended as {expected}, but these did: {dict(found)}")

    def fields(self, jobs: Sequence[SyncJob], *names: str) -> list[list[str | None]]:
        """Some fields of many jobs."""
        pipeline = self.client.pipeline(transaction=False)
        for job in jobs:
            pipeline.hmget(self.keys.job(job.id), *names)
        return [[None if value is None else value.decode() for value in row] for row in pipeline.execute()]

    def _live_workers(self) -> int:
        self._check_workers()
        return len(self.queue.workers(everywhere=False))

    def _check_workers(self) -> None:
        for worker in self.workers:
            worker.check_alive()


@contextmanager
def a_fleet() -> Iterator[Fleet]:
    """A fresh server without workers, for one measurement; everything that was started ends with it."""
    (kind,) = kinds_for(crossed=False)
    server = ServerProcess(kind, options=("--appendfsync", "everysec"))
    try:
        server.start()
        with (
            redis.Redis.from_url(server.url) as client,
            SyncQueue(server.url, queue=QUEUE, settings=Settings()) as queue,
        ):
            fleet = Fleet(server, client, queue)
            try:
                yield fleet
            finally:
                fleet.stop_workers()
    finally:
        server.close()


def accepted(answers: Sequence[object]) -> list[SyncJob]:
    """The jobs that ``SyncQueue.enqueue_many`` stored.

    Raises:
        MeasurementSpoilt: One was refused.
    """
    jobs = [each for each in answers if isinstance(each, SyncJob)]
    if len(jobs) != len(answers):
        raise MeasurementSpoilt(f"{len(answers) - len(jobs)} of {len(answers)} jobs were refused")
    return jobs


def _environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
    return kept | {"ONESHOT_QUEUE_URL": url}
