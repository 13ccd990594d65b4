"""A worker process for exactly one job of ``run``, when the local broker has no worker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from typing import IO, Final

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import print_message
from oneshot_queue.cli.waiting_notices import print_no_worker_notice
from oneshot_queue.errors import OneshotQueueError

PROGRAM: Final = (sys.executable, "-P", "-m", "oneshot_queue", "worker")
MAX_STARTS: Final = 3
_MAX_STDERR_BYTES: Final = 2_000


class OnDemandWorker:
    """Starts a worker process that claims one job by its id and no other, and restarts it until the job is claimed.

    The process has its own session, so neither Ctrl-C nor the end of ``run`` reaches it. It exits when its job ends.
    """

    def __init__(self, destination: Destination, queue: str, job_id: str) -> None:
        self._destination = destination
        self._queue = queue
        self._job_id = job_id
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start the process, unless it is already running."""
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._run, daemon=True)
            self._watcher.start()

    def _run(self) -> None:
        stderr = ""
        for _ in range(MAX_STARTS):
            with tempfile.TemporaryFile() as errors:
                try:
                    self._process(errors).wait()
                except OSError as problem:
                    stderr = str(problem)
                    break
                stderr = _tail_of(errors)
            if not self._job_waits():
                return
        print_message(f"the worker started for job {self._job_id} exited without claiming it{stderr and ':'}")
        if stderr:
            print_message(stderr)
        print_no_worker_notice(self._destination, self._queue)

    def _process(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*PROGRAM, "--only-job", self._job_id, "-q", self._queue, "--quiet"],
            env={**os.environ, "ONESHOT_QUEUE_URL": self._destination.url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )

    def _job_waits(self) -> bool:
        from oneshot_queue.client.sync_queue import SyncQueue
        from oneshot_queue.states import JobState

        try:
            with SyncQueue(queue=self._queue, settings=self._destination.settings) as queue:
                return queue.get(self._job_id).state is JobState.CREATED
        except OneshotQueueError:
            return False  # The main thread sees the same error, and reports it.


def _tail_of(file: IO[bytes]) -> str:
    file.seek(max(0, os.fstat(file.fileno()).st_size - _MAX_STDERR_BYTES))
    return file.read().decode(errors="replace").strip()
