"""A worker that recovers dead workers by printing their slots; a program that tests run.

Usage: ``recovering_worker.py WORD…`` is the real worker. With the word ``oneshot_queue.workers.worker`` and a number
it is the worker process that the supervisor starts.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import oneshot_queue.workers.main
from oneshot_queue.cli import main
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.dead_worker import DeadWorker
from oneshot_queue.workers.worker import worker as worker_module
from oneshot_queue.workers.worker.__main__ import run_worker_process


def recover_by_printing() -> None:
    """Make every worker created from now on recover dead workers so."""
    original = worker_module.Worker.__init__

    def init(self: worker_module.Worker, *args: Any, **options: Any) -> None:
        original(self, *args, **options)

        def recover(dead_worker: DeadWorker) -> bool:
            for slot in dead_worker.slots:
                words = f"dead worker {dead_worker.worker_id}: {slot.job_id} {slot.state.name} {slot.exit_code}"
                os.write(2, f"{words} in {dead_worker.folder}\n".encode())
            if self.name.endswith(".1"):
                # Only the other one finishes: this one dies while it recovers.
                os.kill(os.getpid(), 9)
            self.link.decided(dead_worker.worker_id)
            return True

        self.link.on_dead_worker = recover

    worker_module.Worker.__init__ = init  # type: ignore[method-assign]


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
