"""A worker whose clock is wrong; a program that tests run.

Usage: ``skewed_worker.py SECONDS ARGUMENT…``, with the arguments of the real worker. Its wall clock is ``SECONDS``
ahead, or behind if that is negative. Its monotonic clock is correct, because that clock never jumps on any machine.
"""

from __future__ import annotations

import sys

import oneshot_queue.workers.main
from oneshot_queue.cli import main
from oneshot_queue.clock import SystemClock
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.worker.__main__ import run_worker_process


def run(ahead_s: int, words: list[str]) -> int:
    """Run the worker."""
    if words[0] != "oneshot_queue.workers.worker":
        oneshot_queue.workers.main.WORKER_PROGRAM = (
            sys.executable,
            "-P",
            __file__,
            str(ahead_s),
            "oneshot_queue.workers.worker",
        )
        return main(["worker", *words])
    original = SystemClock.now_ms
    SystemClock.now_ms = lambda self: original(self) + ahead_s * 1000  # type: ignore[method-assign]
    return run_worker_process(Channel.inherited(int(words[1])))


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
