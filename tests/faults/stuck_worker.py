"""A worker whose event loop can be blocked; not a test, but what tests run as a process.

Usage: ``stuck_worker.py FILE WORD…``, the words being those of the real worker's command line: nothing happens in the
worker process for as long as the file is there. It says so when it begins.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import workers.main
from oneshot_queue.cli import main
from workers.control import Channel
from workers.services.lease_keeper import LeaseKeeper
from workers.supervised import run_supervised


def run(path: Path, words: list[str]) -> int:
    """Run the worker."""
    if words[0] != "workers.supervised":
        workers.main.WORKER_PROGRAM = (sys.executable, "-P", __file__, str(path), "workers.supervised")
        return main(["worker", *words])
    original = LeaseKeeper.run_once

    def block() -> None:
        if path.exists():
            print("stuck", file=sys.stderr, flush=True)  # noqa: T201 - tests wait for it
        while path.exists():
            time.sleep(0.01)

    async def renew(self: LeaseKeeper) -> int:
        block()
        return await original(self)

    LeaseKeeper.run_once = renew  # type: ignore[method-assign]
    return run_supervised(Channel.inherited(int(words[1])))


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
