"""A worker whose channel is full when it is first asked to stop; a program that tests run."""

from __future__ import annotations

import os
import signal
import sys

from oneshot_queue.cli import main
from oneshot_queue.workers.ipc.messages import Stage, Stop
from oneshot_queue.workers.supervisor.child import Child

_stop = Child.stop
_crowded: set[int] = set()


def stop_when_crowded(self: Child, stage: Stage) -> None:
    """Stop the worker process and fill its channel before it is asked to stop for the first time."""
    if stage is Stage.RUNNING or self.pid in _crowded:
        _stop(self, stage)
        return
    _crowded.add(self.pid)
    os.kill(self.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)
    while self.channel.send(Stop(Stage.RUNNING)):
        pass
    _stop(self, stage)
    os.write(2, b"there was no room\n")
    os.kill(self.pid, signal.SIGCONT)


if __name__ == "__main__":
    Child.stop = stop_when_crowded  # type: ignore[method-assign]
    sys.exit(main(["worker", *sys.argv[1:]]))
