"""The virtual environments of the peers: created once, and again when their requirements change."""

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
    """A virtual environment with the packages of a requirements file.

    Attributes:
        folder: Its folder, ignored by git.
        requirements: The file that lists its packages, at exact versions.
    """

    folder: Path
    requirements: Path

    @property
    def programs(self) -> Path:
        """The folder of its programs."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.programs / "python"

    def install(self) -> None:
        """Create it unless it is up to date.

        Raises:
            PeerMissing: The packages cannot be installed; the message contains the last line of pip's output.
        """
        stamp = self.folder / "installed"
        wanted = f"{self.folder} {hashlib.sha256(self.requirements.read_bytes()).hexdigest()}"
        if stamp.exists() and stamp.read_text() == wanted and self.python.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        _run("cannot create a virtual environment", sys.executable, "-m", "venv", str(self.folder))
        pip = (str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run("pip cannot install it", *pip, "--requirement", str(self.requirements))
        # Written last, so that an interrupted installation is repeated.
        stamp.write_text(wanted)


SHARED: Final = Environment(ROOT / ".bench-venv" / "shared", _HERE / "requirements.txt")
FOR_ARQ: Final = Environment(ROOT / ".bench-venv" / "arq", _HERE / "requirements-arq.txt")


def _run(problem: str, *argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise PeerMissing(f"{problem} within {INSTALL_S:g} s") from None
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or f"it exited with {done.returncode}").splitlines()
        raise PeerMissing(f"{problem}: {words[-1]}")
