"""Run as root in a pid namespace of its own: a command's number is given to a stranger, and the stranger lives.

Prints the stranger's fate. Not a test, but what a test runs as a process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from oneshot_queue.workers.processes.spawning import spawn


def main() -> int:
    """Signal a reaped command whose number is another's now."""
    environment = {"PATH": os.defpath}
    process = spawn([b"true"], cwd=None, env=environment, with_stdin=False, with_terminal=False)
    os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOWAIT)
    # Dead and not reaped, it still has its number, and nobody else can get it.
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(process.pid - 1))
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    process.signal_group(signal.SIGKILL)
    process.reap()
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(process.pid - 1))
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    process.signal_group(signal.SIGKILL)
    print(  # noqa: T201 - its report
        "same number" if stranger.pid == process.pid else "another number",
        "reserved" if other.pid != process.pid else "reused too early",
        "alive" if stranger.poll() is None and other.poll() is None else "killed",
    )
    for each in (stranger, other):
        each.kill()
        each.wait()
    process.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
