"""A worker that recovers dead workers by printing their slots; a program that tests run.

Usage: ``recovering_worker.py WORD…`` is the real worker. With the word ``oneshot_queue.workers.worker`` and a number
it is the worker process that the supervisor starts.
"""

from __future__ import annotations

import os
import sys

import oneshot_queue.workers.main
from oneshot_queue.cli import main
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.dead_worker import DeadWorker
from oneshot_queue.workers.worker.__main__ import run_worker_process
from oneshot_queue.workers.worker.services.crash_recovery import CrashRecovery


def recover_by_printing() -> None:
    """Make every worker print the journals of dead workers instead of settling their jobs."""

    async def recover(self: CrashRecovery, dead_worker: DeadWorker) -> int:
        for slot in dead_worker.slots:
            words = f"dead worker {dead_worker.worker_id}: {slot.job_id} {slot.state.name} {slot.exit_code}"
            os.write(2, f"{words} in {dead_worker.folder}\n".encode())
        if self._worker.endswith(".1"):
            # Only the other worker finishes: this one dies before it has recovered anything.
            os.kill(os.getpid(), 9)
        return 0

    CrashRecovery.recover = recover  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] == "oneshot_queue.workers.worker":
        recover_by_printing()
        sys.exit(run_worker_process(Channel.inherited(int(sys.argv[2]))))
    oneshot_queue.workers.main.WORKER_PROGRAM = (
        sys.executable,
        "-P",
        __file__,
        "oneshot_queue.workers.worker",
    )
    sys.exit(main(["worker", *sys.argv[1:]]))
