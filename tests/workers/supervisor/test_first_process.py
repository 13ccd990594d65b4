"""A supervisor as process 1 of a container: it reaps the processes it inherits, and handles signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from oneshot_queue import JobState
from oneshot_queue.workers.processes.procfs import children_of, status_of
from tests.support.deployment import Deployment
from tests.support.limits import limit_s
from tests.support.waiting import wait_until
from tests.support.worker_process import PROGRAM


@pytest.fixture
def contained() -> tuple[str, ...]:
    """A worker that is process number 1."""
    words = ("unshare", "--pid", "--fork", "--mount-proc")
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no namespace for processes here: {tried.stderr.strip()}")
    return (*words, *PROGRAM)


@pytest.mark.thorough
def test_first_process_reaps_strangers_replaces_workers_and_drains_when_asked(
    deployment: Deployment, contained: tuple[str, ...]
) -> None:
    container = deployment.start_worker(program=contained)
    (first,) = children_of(container.pid)
    assert (Path(f"/proc/{first}/status").read_text().split("NSpid:")[1].split("\n")[0].split())[-1] == "1"
    # Enters from outside and leaves an orphan, as `docker exec` does.
    entered = ["nsenter", "--pid", "--target", str(first), "sh", "-c", "sleep 0.4 & sleep 300 & :"]
    subprocess.run(entered, check=True)
    strangers = wait_until(
        lambda: [pid for pid in children_of(first) if is_sleep(pid)], lambda found: len(found) == 2, what="the orphans"
    )
    wait_until(lambda: sum(status_of(pid) is None for pid in strangers), lambda gone: gone == 1, what="its burial")
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED

    (worker,) = [pid for pid in children_of(first) if not is_sleep(pid)]
    os.kill(worker, signal.SIGKILL)
    container.wait_for("replacing it now")
    container.wait_for("worker ", times=3)
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED
    assert sum(is_sleep(pid) for pid in strangers) == 1

    os.kill(first, signal.SIGTERM)
    assert container.wait() == 0


def is_sleep(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep")
    except (FileNotFoundError, ProcessLookupError):
        return False
