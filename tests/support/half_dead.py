"""``python half_dead.py FILE``: a process whose main thread has exited while another thread runs.

It then writes its process id to the file. The kernel shows such a process as a zombie.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
import time
from pathlib import Path

EXIT_THREAD = {"x86_64": 60, "aarch64": 93}
PROGRAM = f"{sys.executable} -P {__file__}"
"""A shell command that starts it, without the file."""


def live_on(path: Path) -> None:
    """Report the end of the main thread, then sleep longer than any test runs."""
    while b") Z" not in Path(f"/proc/self/task/{os.getpid()}/stat").read_bytes():
        time.sleep(0.01)
    new = path.with_suffix(".new")
    new.write_text(str(os.getpid()))
    new.replace(path)
    time.sleep(300)


if __name__ == "__main__":
    threading.Thread(target=live_on, args=[Path(sys.argv[1])]).start()
    # End this thread alone: a normal exit would end the process.
    ctypes.CDLL(None).syscall(EXIT_THREAD[platform.machine()], 0)
