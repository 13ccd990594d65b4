"""A process is found by its marker and its token as long as one of its threads is alive."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.collecting import live_processes
from tests.support.faults import open_pidfd
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until

TOKEN = "1-of-a-zombie"
LEADERLESS = """\
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def leaderless(marker: ProcessMarker, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a marker and a token, whose main thread has exited and whose other thread waits for stdin."""
    words = marker.sleep.split()
    (tmp_path / words[1]).write_text(LEADERLESS)
    process = subprocess.Popen(
        words,
        executable=os.path.realpath(sys.executable),
        cwd=tmp_path,
        env={"ONESHOT_TOKEN": TOKEN, "PYTHONHOME": sys.base_prefix},
        stdin=subprocess.PIPE,
    )
    try:
        folder = Path(f"/proc/{process.pid}")
        wait_until(
            lambda: (folder / "stat").read_text().rpartition(")")[2].split()[0],
            "Z".__eq__,
            what="its main thread to exit",
        )
        assert (folder / "cmdline").read_bytes() == b"", "the fault did not happen: its command line can still be read"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_process_without_its_main_thread_is_found_until_its_last_thread_exits(
    leaderless: subprocess.Popen[bytes], marker: ProcessMarker
) -> None:
    assert marker.alive() == [leaderless.pid]
    assert live_processes([TOKEN]) == {TOKEN: [leaderless.pid]}

    with open_pidfd(leaderless.pid) as pidfd:
        leaderless.kill()
        # Unlike wait, this leaves it as a zombie.
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)

    assert os.path.exists(f"/proc/{leaderless.pid}"), "the fault did not happen: it was reaped"
    assert marker.alive() == []
    assert live_processes([TOKEN]) == {}
