"""A fleet of workers that are killed, frozen and replaced."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.deployment import Deployment
from tests.support.faults import frozen, kill_process
from tests.support.worker_process import WorkerProcess


class Fleet:
    """A fixed number of workers: each one that was killed is replaced.

    The methods that kill or freeze return whether there was a process to affect.

    Args:
        deployment: The queue and its settings.
        url: The URL of the server for the workers, usually that of a wire.
        size: Number of workers.
        concurrency: Slots of each worker.
        rng: Draws the victims.
    """

    def __init__(self, deployment: Deployment, url: str, *, size: int, concurrency: int, rng: random.Random) -> None:
        self._deployment = deployment
        self._url = url
        self._concurrency = concurrency
        self._rng = rng
        self._workers = [self._start() for _ in range(size)]

    @property
    def log(self) -> str:
        """The log lines of all workers."""
        return "\n".join(line for worker in self._workers for line in worker.lines)

    def kill_worker(self) -> bool:
        """SIGKILL a worker process, if there is one now; its supervisor replaces it."""
        pids, fraction = self._workers[self._draw()].pids_of_workers, self._rng.random()
        if pids:
            kill_process(pids[int(fraction * len(pids))])
        return bool(pids)

    def kill_supervisor(self) -> bool:
        """SIGKILL a supervisor, whose workers then end by themselves, and start another one."""
        number = self._draw()
        had_workers = bool(self._workers[number].pids_of_workers)
        self._workers[number].signal(signal.SIGKILL)
        self._workers[number].wait()
        self._workers[number] = self._start()
        return had_workers

    def kill_host(self) -> bool:
        """SIGKILL a supervisor together with its workers, and start others."""
        number = self._draw()
        had_workers = bool(self._workers[number].pids_of_workers)
        self._workers[number].kill()
        self._workers[number] = self._start()
        return had_workers

    @contextmanager
    def frozen_worker(self) -> Iterator[list[int]]:
        """Freeze a worker process for a while; yields its pid, or nothing if there is none now."""
        pids = self._workers[self._draw()].pids_of_workers[:1]
        with frozen(*pids):
            yield pids

    def stop(self) -> None:
        """Let all workers drain and end."""
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        for worker in self._workers:
            worker.wait(60)

    def _draw(self) -> int:
        return self._rng.randrange(len(self._workers))

    def _start(self) -> WorkerProcess:
        return self._deployment.start_worker(url=self._url, concurrency=self._concurrency)
