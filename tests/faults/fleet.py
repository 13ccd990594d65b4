"""Workers that may be killed, frozen and replaced, however they are made up of processes."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.faults import frozen, kill_process
from tests.integration.deployment import Deployment
from tests.integration.worker_process import WorkerProcess


class Fleet:
    """A number of workers that stays the same: one that was killed is replaced.

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

    def kill_worker(self) -> None:
        """SIGKILL a process that runs jobs; whoever stands above it, if anybody, replaces it."""
        number = self._draw()
        pid = self._dice.choice(processes_of(self._workers[number]))
        if pid == self._workers[number].pid:
            self._replace(number)
        else:
            kill_process(pid)

    def kill_supervisor(self) -> None:
        """SIGKILL what was started first, and start another."""
        self._replace(self._draw())

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Freeze a process that runs jobs for a while."""
        with frozen(self._dice.choice(processes_of(self._workers[self._draw()]))):
            yield

    def stop(self) -> None:
        """Let all of them drain and end."""
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        for worker in self._workers:
            worker.wait(60)

    def _draw(self) -> int:
        return self._dice.randrange(len(self._workers))

    def _replace(self, number: int) -> None:
        self._workers[number].kill()
        self._workers[number] = self._start()

    def _start(self) -> WorkerProcess:
        return self._deployment.start_worker(url=self._url, concurrency=self._concurrency)


def processes_of(worker: WorkerProcess) -> list[int]:
    """The processes that run jobs: those below the one that was started, or itself if there are none."""
    found = []
    for listing in Path(f"/proc/{worker.pid}/task").glob("*/children"):
        for pid in listing.read_text().split():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(word.startswith(b"workers") for word in words):
                found.append(int(pid))
    return found or [worker.pid]
