"""A worker that cannot make control groups; a program that tests run."""

from __future__ import annotations

import sys

from oneshot_queue.cli import main
from oneshot_queue.workers.processes import cgroup


def no_group(worker_id: str) -> str | None:
    """Behave like ``cgroup.make`` where the cgroup tree is not writable."""
    del worker_id
    return None


if __name__ == "__main__":
    cgroup.make = no_group
    sys.exit(main(["worker", *sys.argv[1:]]))
