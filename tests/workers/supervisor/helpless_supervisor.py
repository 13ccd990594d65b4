"""A supervisor whose signals have no effect, as if processes hung in the kernel; a program that tests run."""

from __future__ import annotations

import sys
from functools import partial

from oneshot_queue.cli import main
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.supervisor import leftovers, orphans, supervisor, survivors

if __name__ == "__main__":
    cgroup.make = lambda worker_id: None  # noqa: ARG005
    orphans.send_signal = survivors.send_signal = lambda *_: None  # type: ignore[attr-defined]
    supervisor.ORPHAN_LIMIT_S = 0.5  # type: ignore[misc]
    leftovers.end_survivors = partial(survivors.end_survivors, give_up_s=0.5)  # type: ignore[attr-defined]
    sys.exit(main(["worker", *sys.argv[1:]]))
