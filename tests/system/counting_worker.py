"""A worker that counts what its processes do; a program that a test runs.

Usage: ``counting_worker.py FILE ARGUMENT…``, with the arguments of the real worker. When a worker process ends, it
writes the number of its function calls and of its allocated memory blocks to the file, as JSON.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import sys
from pathlib import Path

import oneshot_queue.workers.main
from oneshot_queue.cli import main
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.worker.__main__ import run_worker_process
from oneshot_queue.workers.worker.worker import Worker


def run(path: Path, words: list[str]) -> int:
    """Run the worker."""
    if words[0] != "oneshot_queue.workers.worker":
        oneshot_queue.workers.main.WORKER_PROGRAM = (
            sys.executable,
            "-P",
            __file__,
            str(path),
            "oneshot_queue.workers.worker",
        )
        return main(["worker", *words])
    original = Worker.run
    blocks = 0

    async def run_and_count(self: Worker) -> None:
        nonlocal blocks
        await original(self)
        gc.collect()
        blocks = sys.getallocatedblocks()

    Worker.run = run_and_count  # type: ignore[method-assign]
    profile = cProfile.Profile()
    code = profile.runcall(run_worker_process, Channel.inherited(int(words[1])))
    path.write_text(json.dumps({"function_calls": pstats.Stats(profile).total_calls, "blocks_kept": blocks}))  # type: ignore[attr-defined]  # missing in its stub
    return code


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
