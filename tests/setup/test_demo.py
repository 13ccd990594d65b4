"""`make demo`, without the installation."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.limits import limit_s
from tests.support.repository import ROOT


def test_demo_shows_output_and_state_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
    }

    done = subprocess.run(
        ["sh", str(ROOT / "examples" / "demo.sh")],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s(50),
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "hello from process" in done.stdout
    assert "a second later, on stderr" in done.stderr
    assert "COMPLETED" in done.stdout
    # The fixture that watches every test checks that no process is left.
    assert list(tmp_path.iterdir()) == []
