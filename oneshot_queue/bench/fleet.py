"""One queue in a namespace of its own, and the workers on it: started warm, watched, and gone afterwards."""

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
        """End it, and the jobs it may have; at once if that takes too long, or if somebody interrupts this."""
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
        commands: By the commands that they have waited for.
        server: By the broker; what others had it do is in it.
    """

    workers: float
    commands: float
    server: float

    def since(self, before: CpuUse) -> CpuUse:
        """What was used in between."""
        return CpuUse(self.workers - before.workers, self.commands - before.commands, self.server - before.server)


class Fleet:
    """One queue, and the workers that are asked for.

    Args:
        settings: The broker's URL, and a namespace that is nobody else's.
        queue: Of these settings.
        server: To the same broker.
        folder: For what the workers complain of.
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
        """Where the broker is."""
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
        log = self._folder / f"worker-{len(self.workers)}"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [
                    *(*_ENDING_WITH_PARENT, *WORKER_COMMAND, "-q", QUEUE, "-c", str(concurrency)),
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
        there = sum(worker.processes for worker in self.workers)
        self.until(self._live_workers, lambda live: live == there, "the worker to be there")
        if warm_up:
            jobs = self.enqueue([TRUE] * warm_up)
            self.wait_until_drained()
            self.check(jobs)

    def environment(self, url: str | None = None) -> dict[str, str]:
        """For a process that is to use this broker and namespace."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
        return kept | {"ONESHOT_QUEUE_URL": url or self.url, "ONESHOT_QUEUE_NAMESPACE": self.settings.namespace}

    def stop_workers(self) -> None:
        """End all workers."""
        with ExitStack() as ends:
            while self.workers:
                ends.callback(self.workers.pop().stop)

    @contextmanager
    def frozen_workers(self) -> Iterator[None]:
        """Hold the workers still, so that a queue fills up; they go on where they stood."""
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
        return accepted(self.queue.enqueue_many(commands))

    def interrupt(self, jobs: Sequence[SyncJob], *, grace: float | None = None) -> None:
        """Interrupt jobs that run, and wait for their ends.

        Raises:
            MeasurementSpoilt: One ended otherwise.
        """
        for report in self.queue.interrupt([job.id for job in jobs], grace=grace):
            if report.state is not JobState.INTERRUPTED:
                raise MeasurementSpoilt(f"an interrupted job ended {report.state}")

    def unfinished(self) -> int:
        """How many jobs wait or run; one round trip of the cheapest kind."""
        return self.server.run(plain("XLEN", self.keys.ready(Priority.NORMAL), read=int))

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

    def until(self, observe: Callable[[], T], is_it: Callable[[T], object], what: str) -> T:
        """Look until it is so, and return what was seen then.

        Raises:
            MeasurementSpoilt: It was not within a minute, or a worker ended.
        """
        deadline = time.monotonic() + STALLED_S
        while not is_it(seen := observe()):
            self._check_workers()
            if time.monotonic() > deadline:
                raise MeasurementSpoilt(f"waited {STALLED_S:g} s for {what}; last seen: {seen!r}")
            time.sleep(LOOK_EVERY_S)
        return seen

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

        def read(reply: Any) -> list[str | None]:
            return [None if value is None else text(value) for value in reply]

        return self.server.run_many([plain("HMGET", self.keys.job(job.id), *names, read=read) for job in jobs])

    def cpu(self) -> CpuUse:
        """What all have used so far."""
        used = [cpu_s(pid) for worker in self.workers for pid in worker.worker_pids]
        said = self.server.run(server_info("cpu"))
        server = float(said.get("used_cpu_user", "0")) + float(said.get("used_cpu_sys", "0"))
        return CpuUse(sum(own for own, _ in used), sum(children for _, children in used), server)

    def _live_workers(self) -> int:
        self._check_workers()
        return len(self.queue.workers(everywhere=False))

    def _check_workers(self) -> None:
        for worker in self.workers:
            worker.check_alive()


Place = Callable[[], AbstractContextManager[Fleet]]
"""Makes a fresh fleet, without workers, for one measurement."""


@contextmanager
def a_fleet_at(url: str, namespace: str | None = None) -> Iterator[Fleet]:
    """Settle on a broker; the workers and all keys of the namespace are gone afterwards.

    Args:
        namespace: One that nobody else has; drawn if not given.

    Raises:
        BrokerError: The broker is out of reach or refuses.
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
                    with suppress(BrokerError):  # it has been told, or will be, by whoever needs the broker
                        _erase(fleet)
    finally:
        connection.close()


def accepted(answers: Sequence[object]) -> list[SyncJob]:
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
