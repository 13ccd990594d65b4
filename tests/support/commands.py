"""Commands that tests need and a minimal machine may lack: it has only sh and the coreutils."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

# As util-linux does: a group leader cannot start a session, its child can.
_SETSID: Final = """\
import os, sys
if os.getpgrp() == os.getpid() and os.fork():
    os._exit(0)
os.setsid()
os.execvp(sys.argv[1], sys.argv[1:])
"""


def provide_missing(folder: Path) -> None:
    """Add a ``setsid`` at the end of PATH if there is none."""
    if shutil.which("setsid"):
        return
    program = folder / "setsid.py"
    program.write_text(_SETSID)
    command = folder / "setsid"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -S '{program}' \"$@\"\n")
    command.chmod(0o755)
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{folder}"
