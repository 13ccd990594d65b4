"""``python half_dead.py FILE``: a process whose main thread has exited, while another one lives on.

Once that is so, its number stands in the file. The kernel shows such a process as a zombie.
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
"""A shell's words for it, but for the file."""


def live_on(path: Path) -> None:
    """Tell of the main thread's end, then sleep longer than any test."""
    while b") Z" not in Path(f"/proc/self/task/{os.getpid()}/stat").read_bytes():
        time.sleep(0.01)
    new = path.with_suffix(".new")
    new.write_text(str(os.getpid()))
    new.replace(path)
    time.sleep(300)


if __name__ == "__main__":
    threading.Thread(target=live_on, args=[Path(sys.argv[1])]).start()
    # The thread alone: to exit as programs do would end the process.
    ctypes.CDLL(None).syscall(EXIT_THREAD[platform.machine()], 0)
