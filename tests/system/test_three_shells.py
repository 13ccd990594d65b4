"""A session in three shells: a worker in the first, a command run from the second, an interrupt from the third."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from oneshot_queue import JobState
from tests.support.deployment import Deployment, history_of, until_state
from tests.support.markers import ProcessMarker
from tests.support.waiting import TIMEOUT_S, wait_until

OSQ = (sys.executable, "-P", "-m", "oneshot_queue")


class Shell:
    """A shell that knows only the broker of the deployment."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
        self._environment = {
            **kept,
            "ONESHOT_QUEUE_URL": deployment.url,
            "ONESHOT_QUEUE_NAMESPACE": deployment.settings.namespace,
            "XDG_STATE_HOME": str(folder),
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*OSQ, *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def do(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*OSQ, *words], env=self._environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    def shown(self, job_id: str) -> dict[str, Any]:
        done = self.do("show", job_id, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def shell(deployment: Deployment, tmp_path: Path) -> Shell:
    return Shell(deployment, tmp_path)


def read_line(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.readline().decode()


def states(job: dict[str, Any]) -> list[str]:
    return [row["state"] for row in job["history"]]


def test_session_in_three_shells(deployment: Deployment, shell: Shell, marker: ProcessMarker, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    queue = deployment.queue_name
    script = tmp_path / "script"
    script.write_text(
        f"#!/bin/sh\necho compiling\nread line < {go_on}\necho linking >&2\n{marker.sleep} &\n{marker.sleep}\n"
    )
    script.chmod(0o755)

    worker = deployment.start_worker(arguments=["--name", "first-shell"])
    run = shell.start("run", "-q", queue, "--idle-after", "0.3s", "--name", "build", "--", str(script))
    try:
        assert read_line(run.stdout) == "compiling\n"
        (listed,) = json.loads(shell.do("ls", "-q", queue, "--json").stdout)
        handle = deployment.queue.get(listed["id"])
        until_state(handle, JobState.IDLE)
        go_on.write_text("\n")
        assert read_line(run.stderr) == "linking\n"
        wait_until(lambda: history_of(handle), lambda seen: len(seen) == 5, what="the second silence")
        assert len(marker.alive()) == 2

        interrupted = shell.do("interrupt", listed["id"], "--reason", "wrong branch", "--json")

        assert marker.alive() == []
        assert interrupted.returncode == 0, interrupted.stderr
        (report,) = json.loads(interrupted.stdout)
        assert (report["id"], report["state"], report["result"]) == (listed["id"], "INTERRUPTED", "interrupted")
        _, errors = run.communicate(timeout=TIMEOUT_S)
        assert run.returncode == 130, errors
    finally:
        run.kill()
        run.communicate()

    job = shell.shown(listed["id"])
    assert states(job) == ["CREATED", "RUNNING", "IDLE", "RUNNING", "IDLE", "INTERRUPTED"]
    assert (job["name"], job["worker"], job["reason"]) == ("build", "first-shell", "wrong branch")
    assert listed["id"] in errors.decode()
    again = shell.do("interrupt", listed["id"])
    assert again.returncode == 4
    logs = shell.do("logs", listed["id"])
    assert (logs.returncode, logs.stdout, logs.stderr) == (0, "compiling\n", "linking\n")
    worker.stop()
    assert [line.split()[1] for line in worker.lines if listed["id"] in line] == ["start", "stop", "end"]


def test_run_has_the_exit_code_and_the_output_of_its_command(deployment: Deployment, shell: Shell) -> None:
    deployment.start_worker()

    run = shell.start("run", "-q", deployment.queue_name, "--", "sh", "-c", "printf 'no newline'; echo err >&2; exit 7")
    stdout, stderr = run.communicate(timeout=TIMEOUT_S)

    assert (run.returncode, stdout, stderr) == (7, b"no newline", b"err\n")


def test_workers_are_listed_before_their_first_job_and_not_after_their_end(
    deployment: Deployment, shell: Shell
) -> None:
    worker = deployment.start_worker(arguments=["--name", "early"])

    (before,) = json.loads(shell.do("workers", "--json").stdout)
    process = worker.worker_pid
    worker.stop()
    after = json.loads(shell.do("workers", "--json").stdout)

    assert (before["name"], before["pid"], before["queues"]) == ("early", process, [deployment.queue_name])
    assert after == []
