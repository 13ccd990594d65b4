"""A worker for exactly one job, for ``run`` on a local broker that has no other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from typing import IO, Final

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import say
from oneshot_queue.cli.waiting_notices import no_worker
from oneshot_queue.errors import OneshotQueueError

PROGRAM: Final = (sys.executable, "-P", "-m", "oneshot_queue", "worker")
TRIES: Final = 3
_LAST_BYTES: Final = 2_000


class OnDemandWorker:
    """Starts a process that claims one job by its id and takes no other, and watches over it until the job is claimed.

    The process has a session of its own: neither Ctrl-C nor the end of ``run`` reaches it, and it ends with its job.
    """

    def __init__(self, broker: Destination, queue: str, job_id: str) -> None:
        self._broker = broker
        self._queue = queue
        self._job_id = job_id
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._serve, daemon=True)
            self._watcher.start()

    def _serve(self) -> None:
        said = ""
        for _ in range(TRIES):
            with tempfile.TemporaryFile() as errors:
                try:
                    self._process(errors).wait()
                except OSError as problem:
                    said = str(problem)
                    break
                said = _end_of(errors)
            if not self._job_waits():
                return
        say(f"a worker for job {self._job_id} was started, and ended without taking it{said and ':'}")
        if said:
            say(said)
        no_worker(self._broker, self._queue)

    def _process(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*PROGRAM, "--only-job", self._job_id, "-q", self._queue, "--quiet"],
            env={**os.environ, "ONESHOT_QUEUE_URL": self._broker.url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )

    def _job_waits(self) -> bool:
        from oneshot_queue.client.sync_queue import SyncQueue
        from oneshot_queue.states import JobState

        try:
            with SyncQueue(queue=self._queue, settings=self._broker.settings) as queue:
                return queue.get(self._job_id).state is JobState.CREATED
        except OneshotQueueError:
            return False  # The one who waits for the job sees the same, and says it.


def _end_of(file: IO[bytes]) -> str:
    file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
    return file.read().decode(errors="replace").strip()
