"""The server is detached: it survives the terminal, shell or job that started it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from oneshot_queue.local_broker import ensure_running, is_local_broker, status
from oneshot_queue.local_broker.processes import MARKER
from tests.local_broker.conftest import Machine, client, is_gone, opened_by
from tests.support.limits import limit_s

# Like a shell: the leader of the session that owns the terminal, and its foreground group.
ON_A_TERMINAL = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
print("pid", ensure_running().pid, flush=True)
signal.pause()
"""


def environ_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(entry).split("=", 1) for entry in entries if entry)


def session_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])


def start_on_a_terminal(machine: Machine) -> tuple[subprocess.Popen[str], int, int]:
    """Start the broker from a process on a new terminal; returns it, the terminal's other side, and the pid."""
    ours, theirs = pty.openpty()
    caller = machine.start_python(ON_A_TERMINAL, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    while not shown.endswith(b"\n") or b"pid " not in shown:
        shown += os.read(ours, 1000)
    return caller, ours, int(shown.split(b"pid ")[1])


def still_serves(pid: int) -> bool:
    broker = status()
    return broker is not None and broker.pid == pid and bool(client(broker.url).ping())


def test_ctrl_c_does_not_reach_the_server(any_kind: Machine) -> None:
    caller, terminal, pid = start_on_a_terminal(any_kind)

    os.write(terminal, b"\x03")

    assert caller.wait(timeout=limit_s(20)) in {-signal.SIGINT, 130, 1}
    os.close(terminal)
    assert still_serves(pid)


def test_closing_the_terminal_does_not_reach_the_server(any_kind: Machine) -> None:
    caller, terminal, pid = start_on_a_terminal(any_kind)

    os.close(terminal)

    assert caller.wait(timeout=limit_s(20)) == -signal.SIGHUP
    assert still_serves(pid)


def test_a_command_substitution_does_not_wait_for_the_server(any_kind: Machine) -> None:
    program = "from oneshot_queue.local_broker import *; print(ensure_running().pid)"
    script = f'x=$("{sys.executable}" -P -c "{program}"); echo "$x"'

    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=limit_s(30), check=True)

    assert still_serves(int(done.stdout))


def test_the_server_inherits_nothing_but_its_lock_from_its_caller(any_kind: Machine) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        pid = int(any_kind.run_python("print(ensure_running().pid)", pass_fds=[writing], cwd="/").stdout)
    finally:
        os.close(writing)

    assert os.read(reading, 1) == b""  # No process holds the other end.
    os.close(reading)
    described = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert described["Umask"] == "0077"
    assert os.readlink(f"/proc/{pid}/cwd") in {str(any_kind.folder.path), str(any_kind.folder.data)}
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/1") == os.readlink(f"/proc/{pid}/fd/2") == str(any_kind.folder.log)
    assert session_of(pid) not in {os.getsid(0), pid}
    assert str(any_kind.folder.alive) in opened_by(pid)
    assert str(any_kind.folder.lock) not in opened_by(pid)


def test_the_server_environment_has_no_job_variables_and_no_secrets(any_kind: Machine) -> None:
    names = ["ONESHOT_TOKEN", "ONESHOT_JOB_ID", "ONESHOT_ATTEMPT", "ONESHOT_QUEUE_URL", "AWS_SECRET_ACCESS_KEY"]
    environ = {**os.environ, **dict.fromkeys(names, "secret")}

    pid = int(any_kind.run_python("print(ensure_running().pid)", env=environ).stdout)

    seen = environ_of(pid)
    assert not [name for name in seen if name.startswith("ONESHOT_")]
    assert "secret" not in seen.values()
    assert seen[MARKER] == str(any_kind.folder.path)


def test_the_server_starts_if_the_callers_locale_is_missing(any_kind: Machine) -> None:
    environ = {**os.environ, "LC_ALL": "xx_YY.UTF-8", "LANG": "xx_YY.UTF-8"}

    assert any_kind.run_python("ensure_running()", env=environ).returncode == 0


def test_a_broker_started_by_a_job_outlives_the_job(any_kind: Machine) -> None:
    # The test process adopts orphans, as a worker does.
    job = any_kind.start_python(
        "import sys; print(ensure_running().pid, flush=True); sys.stdin.read()",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "ONESHOT_TOKEN": "1", "ONESHOT_JOB_ID": "x"},
    )
    assert job.stdout is not None
    pid = int(job.stdout.readline())

    os.killpg(job.pid, signal.SIGKILL)
    job.communicate(timeout=limit_s(20))

    mine = Path("/proc/self/task")
    assert str(pid) in " ".join(each.read_text() for each in mine.glob("*/children")).split()
    assert session_of(pid) != job.pid
    assert is_local_broker(pid)
    assert still_serves(pid)


def test_a_process_with_the_marker_alone_is_not_taken_for_a_broker(any_kind: Machine) -> None:
    broker = ensure_running()
    environ = {**os.environ, MARKER: str(any_kind.folder.path)}

    with subprocess.Popen(["/bin/sleep", "300"], env=environ) as pretender:
        try:
            assert not is_local_broker(pretender.pid)
            assert not is_local_broker(os.getpid())
            assert is_local_broker(broker.pid)
        finally:
            pretender.kill()
    assert not is_local_broker(pretender.pid)
    assert is_gone(pretender.pid)


def test_a_relative_python_path_is_made_absolute(machine: Machine) -> None:
    environ = {**os.environ, "PYTHONPATH": "packages"}

    pid = int(machine.run_python("print(ensure_running().pid)", env=environ, cwd=machine.root).stdout)

    assert environ_of(pid)["PYTHONPATH"] == str(machine.root / "packages")
