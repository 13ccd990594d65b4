"""One worker process as its supervisor sees it, from its start to its exit."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.messages import Assignment, GaveUp, Message, Stage, Stop
from oneshot_queue.workers.processes.procfs import ticks_now
from oneshot_queue.workers.supervisor.fencing import OverdueStarts
from oneshot_queue.workers.supervisor.worker_dirs import WorkerDir

PROGRAM: Final = (sys.executable, "-P", "-m", "oneshot_queue.workers.worker")


class Child:
    """A worker process, from its start to its end.

    Attributes:
        is_open: Whether it is registered with the broker.
        failure: Why it gave up, if it sent a reason.
        started: A clock tick since boot before which the process did not exist.
    """

    def __init__(self, assignment: Assignment, worker_dir: WorkerDir, journal: Journal, program: Sequence[str]) -> None:
        self.assignment = assignment
        self.worker_dir = worker_dir
        self.journal = journal
        self.is_open = False
        self.failure: GaveUp | None = None
        self.overdue_starts = OverdueStarts()
        self.started = ticks_now()
        self._began_s = time.monotonic()
        self._requested = Stage.RUNNING
        self.channel, theirs = Channel.pair()
        try:
            # Start it in its own session: otherwise Ctrl-C in a terminal would reach both and count twice.
            self._process = subprocess.Popen(
                [*program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError:
            self.channel.close()
            raise
        finally:
            theirs.close()
        # Not as an argument or variable, which other users may read: the URL may hold a password.
        if not self.channel.send(assignment, worker_dir.files):
            self._process.kill()
            self._process.wait()
            self.channel.close()
            raise OSError(errno.EMSGSIZE, "cannot send the worker its assignment")

    @property
    def name(self) -> str:
        """Its display name."""
        return self.assignment.options.name

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def lived_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began_s

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; ``None`` while it lives. After that, its process id may be reused."""
        return self._process.poll()

    def stop(self, stage: Stage) -> None:
        """Ask it to stop at least this urgently, unless it was asked before. Repeat this if the channel is full."""
        if stage > self._requested and self.channel.send(Stop(stage)):
            self._requested = stage

    def kill(self) -> None:
        """Send it SIGKILL."""
        self._process.kill()

    def take_messages(self) -> list[Message]:
        """Receive all messages that are waiting."""
        found: list[Message] = []
        while True:
            try:
                received = self.channel.receive()
            except BlockingIOError:
                return found
            if received is None:
                return found
            found.append(received[0])
