"""A worker whose event loop can be blocked; a program that tests run.

Usage: ``stuck_worker.py PLACE FILE ARGUMENT…``, with the arguments of the real worker. While the file exists, the
worker process blocks when it reaches the place: ``renewal`` of its lease, or ``start`` of a command. It prints
``stuck`` when it begins to block.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import oneshot_queue.workers.main
from oneshot_queue.cli import main
from oneshot_queue.workers import task
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.processes import process, spawning
from oneshot_queue.workers.worker.__main__ import run_worker_process
from oneshot_queue.workers.worker.services.lease_keeper import LeaseKeeper


def run(place: str, path: Path, words: list[str]) -> int:
    """Run the worker."""
    if words[0] != "oneshot_queue.workers.worker":
        oneshot_queue.workers.main.WORKER_PROGRAM = (
            sys.executable,
            "-P",
            __file__,
            place,
            str(path),
            "oneshot_queue.workers.worker",
        )
        return main(["worker", *words])
    original, original_spawn = LeaseKeeper.run_once, spawning.spawn

    def block() -> None:
        if path.exists():
            print("stuck", file=sys.stderr, flush=True)  # noqa: T201 - tests wait for it
        while path.exists():
            time.sleep(0.01)

    async def renew(self: LeaseKeeper) -> int:
        block()
        return await original(self)

    def spawn(*args: Any, **options: Any) -> process.Process:
        block()
        return original_spawn(*args, **options)

    if place == "renewal":
        LeaseKeeper.run_once = renew  # type: ignore[method-assign]
    else:
        task.spawn = spawn  # type: ignore[attr-defined]
    return run_worker_process(Channel.inherited(int(words[1])))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
