"""Gives the process id of a finished command to another process, and checks that it gets no signal.

A program that a test runs, as root in a new pid namespace. It prints what became of the other process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from oneshot_queue.workers.processes.spawning import spawn


def main() -> int:
    """Signal a reaped command whose process id was reused."""
    environment = {"PATH": os.defpath}
    process = spawn([b"true"], cwd=None, env=environment, with_stdin=False, with_terminal=False)
    os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOWAIT)
    # A zombie keeps its process id: no other process can get it.
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(process.pid - 1))
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    process.signal_group(signal.SIGKILL)
    process.reap()
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(process.pid - 1))
    reusing = subprocess.Popen(["sleep", "300"], start_new_session=True)
    process.signal_group(signal.SIGKILL)
    print(  # noqa: T201 - its report
        "same number" if reusing.pid == process.pid else "another number",
        "reserved" if other.pid != process.pid else "reused too early",
        "alive" if reusing.poll() is None and other.poll() is None else "killed",
    )
    for each in (reusing, other):
        each.kill()
        each.wait()
    process.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
