"""A supervisor that kills a stopped worker after two lease lengths; a program that tests run."""

from __future__ import annotations

import sys

from oneshot_queue.cli import main
from oneshot_queue.workers.supervisor import stopped_workers

if __name__ == "__main__":
    stopped_workers.PATIENCE_S = 0.0  # type: ignore[misc]
    sys.exit(main(["worker", *sys.argv[1:]]))
