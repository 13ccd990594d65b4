"""The virtual environments that the peers are installed in; made once, and again when their requirements change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.peers.peer import PeerMissing

_HERE: Final = Path(__file__).parent
ROOT: Final = _HERE.parents[2]
INSTALL_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with what a file of requirements says.

    Attributes:
        folder: Where it is; git ignores it.
        requirements: What is installed in it, at exact versions.
    """

    folder: Path
    requirements: Path

    @property
    def programs(self) -> Path:
        """Where its commands are."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.programs / "python"

    def install(self) -> None:
        """Make it, unless it is there.

        Raises:
            PeerMissing: What is required cannot be installed; the message carries pip's last words.
        """
        stamp = self.folder / "installed"
        wanted = f"{self.folder} {hashlib.sha256(self.requirements.read_bytes()).hexdigest()}"
        if stamp.exists() and stamp.read_text() == wanted and self.python.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        _run("cannot make a virtual environment", sys.executable, "-m", "venv", str(self.folder))
        pip = (str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run("pip could not install it", *pip, "--requirement", str(self.requirements))
        # Last: an install that was interrupted is made again.
        stamp.write_text(wanted)


SHARED: Final = Environment(ROOT / ".bench-venv" / "shared", _HERE / "requirements.txt")
FOR_ARQ: Final = Environment(ROOT / ".bench-venv" / "arq", _HERE / "requirements-arq.txt")


def _run(problem: str, *argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise PeerMissing(f"{problem} within {INSTALL_S:g} s") from None
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or f"it ended with {done.returncode}").splitlines()
        raise PeerMissing(f"{problem}: {words[-1]}")
