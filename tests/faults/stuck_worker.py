"""A worker whose event loop can be blocked; not a test, but what tests run as a process.

Usage: ``stuck_worker.py PLACE FILE WORD…``, the words being those of the real worker's command line: nothing happens in
the worker process for as long as the file is there, from when it comes to the place: ``renewal`` of its lease, or
``start`` of a command. It says so when it begins.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import workers.main
from oneshot_queue.cli import main
from workers import task
from workers.control import Channel
from workers.processes import process, spawning
from workers.services.lease_keeper import LeaseKeeper
from workers.supervised import run_supervised


def run(place: str, path: Path, words: list[str]) -> int:
    """Run the worker."""
    if words[0] != "workers.supervised":
        workers.main.WORKER_PROGRAM = (sys.executable, "-P", __file__, place, str(path), "workers.supervised")
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
    return run_supervised(Channel.inherited(int(words[1])))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
