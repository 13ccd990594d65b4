"""Workers that may be killed, frozen and replaced, however they are made up of processes."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.deployment import Deployment
from tests.support.faults import frozen, kill_process
from tests.support.worker_process import WorkerProcess


class Fleet:
    """A number of workers that stays the same: one that was killed is replaced.

    What kills or freezes says whether there was anybody to strike.

    Args:
        url: Where they find the server: a wire, as a rule.
        dice: Draws the victims.
    """

    def __init__(self, deployment: Deployment, url: str, *, size: int, concurrency: int, dice: random.Random) -> None:
        self._deployment = deployment
        self._url = url
        self._concurrency = concurrency
        self._dice = dice
        self._workers = [self._start() for _ in range(size)]

    @property
    def log(self) -> str:
        """What they all said."""
        return "\n".join(line for worker in self._workers for line in worker.lines)

    def kill_worker(self) -> bool:
        """SIGKILL a process that runs jobs, if there is one now; its supervisor replaces it."""
        pids, fraction = self._workers[self._draw()].pids_of_workers, self._dice.random()
        if pids:
            kill_process(pids[int(fraction * len(pids))])
        return bool(pids)

    def kill_supervisor(self) -> bool:
        """SIGKILL a supervisor, whose workers then end by themselves, and start another."""
        number = self._draw()
        had_workers = bool(self._workers[number].pids_of_workers)
        self._workers[number].signal(signal.SIGKILL)
        self._workers[number].wait()
        self._workers[number] = self._start()
        return had_workers

    def kill_host(self) -> bool:
        """SIGKILL a supervisor and its workers at once, and start others."""
        number = self._draw()
        had_workers = bool(self._workers[number].pids_of_workers)
        self._workers[number].kill()
        self._workers[number] = self._start()
        return had_workers

    @contextmanager
    def standing_still(self) -> Iterator[list[int]]:
        """Freeze a process that runs jobs for a while, and say which; nobody if there is none now."""
        pids = self._workers[self._draw()].pids_of_workers[:1]
        with frozen(*pids):
            yield pids

    def stop(self) -> None:
        """Let all of them drain and end."""
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        for worker in self._workers:
            worker.wait(60)

    def _draw(self) -> int:
        return self._dice.randrange(len(self._workers))

    def _start(self) -> WorkerProcess:
        return self._deployment.start_worker(url=self._url, concurrency=self._concurrency)
