"""A worker where control groups may not be made; not a test, but what tests run as a process."""

from __future__ import annotations

import sys

from oneshot_queue.cli import main
from oneshot_queue.workers.processes import cgroup


def no_group(worker_id: str) -> str | None:
    """As ``cgroup.make`` where the tree may not be written to."""
    del worker_id
    return None


if __name__ == "__main__":
    cgroup.make = no_group
    sys.exit(main(["worker", *sys.argv[1:]]))
