"""One queue in a namespace of its own, and the workers on it: warmed up, watched, and removed at the end."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from oneshot_queue.bench.figures import MeasurementSpoilt
from oneshot_queue.bench.procfs import children_of, cpu_s
from oneshot_queue.client.sync_queue import SyncJob, SyncQueue
from oneshot_queue.errors import BrokerError
from oneshot_queue.settings import Settings
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import plain, text
from oneshot_queue.store.checkup import server_info
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.retention import erase_common, erase_queue
from oneshot_queue.store.transport.connection import SyncConnection

T = TypeVar("T")

QUEUE: Final = "bench"
TRUE: Final = ("/bin/true",)
WORKER_COMMAND: Final = (sys.executable, "-P", "-m", "oneshot_queue", "worker")
WORKER_OPTIONS: Final = ("--drain-timeout", "0.5", "--quiet", "--allow-eviction")
# If the benchmark is killed, the kernel sends SIGTERM to the worker, which then ends its jobs and itself.
_DIE_WITH_PARENT: Final = (
    sys.executable,
    *("-I", "-S", "-c"),
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])",  # PR_SET_PDEATHSIG
)
POLL_S: Final = 0.01
STALLED_S: Final = 60.0
"""A queue that has made no progress for this long is stuck."""
STOP_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """One worker.

    Attributes:
        process: Its supervisor.
        processes: How many worker processes the supervisor runs.
        log: The file with their stderr.
    """

    process: subprocess.Popen[bytes]
    processes: int
    log: Path

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self.process.pid

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of the worker processes, which run the jobs."""
        return children_of(self.pid)

    def check_alive(self) -> None:
        """Check that it is still running.

        Raises:
            MeasurementSpoilt: It is not; the message contains its last output.
        """
        if self.process.poll() is not None:
            words = self.log.read_text(errors="replace")[-2000:]
            raise MeasurementSpoilt(f"a worker exited with {self.process.returncode}:\n{words}")

    def stop(self) -> None:
        """Stop it and its jobs. Kill it if that takes too long or is interrupted."""
        self.process.send_signal(signal.SIGTERM)
        try:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        finally:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Seconds of CPU used so far.

    Attributes:
        workers: By the worker processes themselves.
        commands: By the commands whose exit they have collected.
        server: By the broker, including work for other clients.
    """

    workers: float
    commands: float
    server: float

    def since(self, before: CpuUse) -> CpuUse:
        """The CPU used since ``before``."""
        return CpuUse(self.workers - before.workers, self.commands - before.commands, self.server - before.server)


class Fleet:
    """One queue, and the workers that are started on it.

    Args:
        settings: The broker's URL, and a namespace that nothing else uses.
        queue: The queue, opened with these settings.
        server: A connection to the same broker.
        folder: For the workers' logs.
    """

    def __init__(self, settings: Settings, queue: SyncQueue, server: SyncConnection, folder: Path) -> None:
        self.settings = settings
        self.queue = queue
        self.server = server
        self.keys = QueueKeys(settings.namespace, QUEUE)
        self.workers: list[WorkerProcess] = []
        self._folder = folder

    @property
    def url(self) -> str:
        """The broker's URL."""
        return self.settings.url or ""

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
        """Start a worker, wait until all its processes are live, and let them run warm-up jobs.

        Args:
            processes: Worker processes under its supervisor.
            concurrency: Jobs that all of them together run at once.
            warm_up: How many jobs to run first; 0 for none.
            arguments: More command-line arguments.
            environment: More environment variables.
            url: Another URL of the same server.

        Raises:
            MeasurementSpoilt: A worker exited, or a job failed.
        """
        log = self._folder / f"worker-{len(self.workers)}"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [
                    *(*_DIE_WITH_PARENT, *WORKER_COMMAND, "-q", QUEUE, "-c", str(concurrency)),
                    *("--processes", str(processes), *WORKER_OPTIONS, *arguments),
                ],
                env=self.environment(url) | dict(environment or {}),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self.workers.append(WorkerProcess(process, processes, log))
        expected = sum(worker.processes for worker in self.workers)
        self.until(self._live_workers, lambda live: live == expected, "the worker to be live")
        if warm_up:
            jobs = self.enqueue([TRUE] * warm_up)
            self.wait_until_drained()
            self.check(jobs)

    def environment(self, url: str | None = None) -> dict[str, str]:
        """The environment of a process that is to use this broker and namespace."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
        return kept | {"ONESHOT_QUEUE_URL": url or self.url, "ONESHOT_QUEUE_NAMESPACE": self.settings.namespace}

    def stop_workers(self) -> None:
        """Stop all workers."""
        with ExitStack() as ends:
            while self.workers:
                ends.callback(self.workers.pop().stop)

    @contextmanager
    def frozen_workers(self) -> Iterator[None]:
        """Suspend the worker processes inside the context, so that the queue fills up."""
        pids = [pid for worker in self.workers for pid in worker.worker_pids]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def enqueue(self, commands: Sequence[Sequence[str]]) -> list[SyncJob]:
        """Store jobs.

        Raises:
            MeasurementSpoilt: One was refused.
        """
        return accepted_jobs(self.queue.enqueue_many(commands))

    def interrupt(self, jobs: Sequence[SyncJob], *, grace: float | None = None) -> None:
        """Interrupt running jobs, and wait until they have ended.

        Raises:
            MeasurementSpoilt: One ended differently.
        """
        for report in self.queue.interrupt([job.id for job in jobs], grace=grace):
            if report.state is not JobState.INTERRUPTED:
                raise MeasurementSpoilt(f"an interrupted job ended as {report.state}")

    def unfinished(self) -> int:
        """How many jobs wait or run. Costs one round trip with a constant-time command."""
        return self.server.run(plain("XLEN", self.keys.ready(Priority.NORMAL), read=int))

    def wait_until_drained(self) -> float:
        """Wait until no job waits or runs, and return the time by ``time.perf_counter``.

        Raises:
            MeasurementSpoilt: A worker exited, or the queue is stuck.
        """
        left, moved_at = self.unfinished(), time.perf_counter()
        while left:
            time.sleep(POLL_S)
            before, left = left, self.unfinished()
            now = time.perf_counter()
            if left != before:
                moved_at = now
            elif now - moved_at > 1:
                self._check_workers()
                if now - moved_at > STALLED_S:
                    raise MeasurementSpoilt(f"{left} jobs are unfinished, and none has ended for {STALLED_S:g} s")
        drained_at = time.perf_counter()
        self._check_workers()
        return drained_at

    def until(self, observe: Callable[[], T], is_done: Callable[[T], object], what: str) -> T:
        """Poll ``observe`` until ``is_done`` accepts its value, and return that value.

        Args:
            what: What is awaited, for the error.

        Raises:
            MeasurementSpoilt: That did not happen within a minute, or a worker exited.
        """
        deadline = time.monotonic() + STALLED_S
        while not is_done(seen := observe()):
            self._check_workers()
            if time.monotonic() > deadline:
                raise MeasurementSpoilt(f"waited {STALLED_S:g} s for {what}; last seen: {seen!r}")
            time.sleep(POLL_S)
        return seen

    def check(self, jobs: Sequence[SyncJob], state: JobState = JobState.COMPLETED, *, output_bytes: int = 0) -> None:
        """Check every job's stored result.

        Raises:
            MeasurementSpoilt: One did not end in ``state``, or wrote a different number of bytes.
        """
        expected = (str(state), str(output_bytes or ""))
        found = Counter(
            (state or "no such job", written or "") for state, written in self.fields(jobs, "state", "bytes")
        )
        if set(found) - {expected}:
            raise MeasurementSpoilt(f"{len(jobs)} jobs should have ended as {expected}, but ended as: {dict(found)}")

    def fields(self, jobs: Sequence[SyncJob], *names: str) -> list[list[str | None]]:
        """Read fields of many jobs: a row for each job, with ``None`` for a missing field."""

        def read(reply: Any) -> list[str | None]:
            return [None if value is None else text(value) for value in reply]

        return self.server.run_many([plain("HMGET", self.keys.job(job.id), *names, read=read) for job in jobs])

    def cpu(self) -> CpuUse:
        """The CPU that workers, commands and the broker have used so far."""
        used = [cpu_s(pid) for worker in self.workers for pid in worker.worker_pids]
        info = self.server.run(server_info("cpu"))
        server = float(info.get("used_cpu_user", "0")) + float(info.get("used_cpu_sys", "0"))
        return CpuUse(sum(own for own, _ in used), sum(children for _, children in used), server)

    def _live_workers(self) -> int:
        self._check_workers()
        return len(self.queue.workers(everywhere=False))

    def _check_workers(self) -> None:
        for worker in self.workers:
            worker.check_alive()


FleetFactory = Callable[[], AbstractContextManager[Fleet]]
"""Opens a fresh fleet, without workers, for one measurement."""


@contextmanager
def open_fleet(url: str, namespace: str | None = None) -> Iterator[Fleet]:
    """Open a fleet on a broker. At the end, its workers and all keys of its namespace are removed.

    Args:
        url: The broker's URL.
        namespace: One that nothing else uses; by default a random one.

    Raises:
        BrokerError: The broker cannot be reached or refuses.
    """
    own = Settings(url=url, namespace=namespace or f"bench-{secrets.token_hex(4)}")
    connection = SyncConnection(url)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="oq-bench-") as folder,
            SyncQueue(queue=QUEUE, settings=own) as queue,
        ):
            fleet = Fleet(own, queue, connection, Path(folder))
            try:
                yield fleet
            finally:
                try:
                    fleet.stop_workers()
                finally:
                    with suppress(BrokerError):  # the next call that needs the broker reports it
                        _erase(fleet)
    finally:
        connection.close()


def accepted_jobs(answers: Sequence[object]) -> list[SyncJob]:
    """The jobs that ``SyncQueue.enqueue_many`` stored.

    Raises:
        MeasurementSpoilt: One was refused.
    """
    jobs = [each for each in answers if isinstance(each, SyncJob)]
    if len(jobs) != len(answers):
        raise MeasurementSpoilt(f"{len(answers) - len(jobs)} of {len(answers)} jobs were refused")
    return jobs


def _erase(fleet: Fleet) -> None:
    for erase in (partial(erase_queue, fleet.keys), partial(erase_common, fleet.settings.namespace)):
        cursor = fleet.server.run(erase())
        while cursor != "0":
            cursor = fleet.server.run(erase(cursor))
