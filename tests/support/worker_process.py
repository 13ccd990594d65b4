"""A supervisor and its workers as real processes, whose log lines are read and whose unexpected end is detected."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.workers.processes.procfs import children_of
from tests.support.limits import limit_s
from tests.support.waiting import LIMIT_S, TIMEOUT_S, wait_until

PROGRAM: Final = (sys.executable, "-P", "-m", "oneshot_queue", "worker")
CRIPPLED: Final = (sys.executable, "-P", str(Path(__file__).with_name("crippled_worker.py")))


class WorkerProcess:
    """One supervisor with its worker processes.

    Args:
        url: The broker's URL.
        queues: The queues from which it claims jobs.
        concurrency: Number of slots.
        arguments: Additional command-line arguments.
        environment: Variables in addition to this process' own, including the worker's settings.
        program: The program to run instead of the real worker.
    """

    def __init__(
        self,
        url: str,
        queues: Sequence[str],
        *,
        concurrency: int = 4,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        named = [word for queue in queues for word in ("-q", queue)]
        self.argv = [*program, *named, "-c", str(concurrency), *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
        self._environment = {**kept, "ONESHOT_QUEUE_URL": url, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._is_expected_to_end = False
        self._reader: threading.Thread | None = None
        self._lines: list[str] = []
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<worker {self.pid}: {' '.join(self.argv)}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.assert_not_lost()
        finally:
            self.close()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None, "the worker was never started"
        return self._process.pid

    @property
    def pids_of_workers(self) -> list[int]:
        """The process ids of its worker processes, the oldest first."""
        return [pid for pid in children_of(self.pid) if _is_worker(pid)]

    @property
    def worker_pid(self) -> int:
        """The process id of its only worker process."""
        (pid,) = self.pids_of_workers
        return pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def lines(self) -> list[str]:
        """The lines that it logged so far."""
        with self._changed:
            return list(self._lines)

    @property
    def rss_bytes(self) -> int:
        """Memory its worker process occupies."""
        return self._status_kib("VmRSS") * 1024

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory its worker process ever occupied."""
        return self._status_kib("VmHWM") * 1024

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU time that it and its worker processes used, without their jobs."""
        stats = (Path(f"/proc/{pid}/stat").read_text() for pid in (self.pid, *self.pids_of_workers))
        fields = (stat.rpartition(")")[2].split() for stat in stats)
        return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")

    def start(self, *, until_ready: bool = True) -> Self:
        """Start it; by default, return once the worker is ready."""
        self._process = subprocess.Popen(
            self.argv,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if until_ready:
            self.wait_for("worker ")
        return self

    def wait_for(self, text: str, *, times: int = 1) -> str:
        """Wait until at least ``times`` lines contain the text; returns the last of these lines."""

        def found() -> list[str]:
            return [line for line in self._lines if text in line]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= times or not self.is_alive, timeout=TIMEOUT_S)
        self._drain_if_ended()
        with self._changed:
            assert len(found()) >= times, f"the worker did not log {text!r} {times} times; it logged: {self._lines}"
            return found()[times - 1]

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal, and expect it to end."""
        assert self._process is not None, "the worker was never started"
        self._is_expected_to_end = True
        self._process.send_signal(number)

    def wait(self, timeout_s: float = LIMIT_S) -> int:
        """Wait until it ends, up to the scaled limit; returns its exit code (negative for a signal)."""
        assert self._process is not None
        self._is_expected_to_end = True
        timeout_s = limit_s(timeout_s)
        try:
            code = self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self!r} still runs after {timeout_s:g} s; it logged: {self.lines}") from None
        self._drain_if_ended()
        return code

    def stop(self) -> None:
        """Let it drain, and assert that it exits with 0."""
        self.signal()
        code = self.wait()
        assert code == 0, f"{self!r} ended with {code}; it logged: {self.lines}"

    def kill(self) -> None:
        """SIGKILL all its processes at once, as if its host vanished; its jobs stay alive."""
        self._is_expected_to_end = True
        self.pause()
        workers = [(pid, pidfd_open(pid)) for pid in self.pids_of_workers]
        for pid in (self.pid, *(pid for pid, _ in workers)):
            os.kill(pid, signal.SIGKILL)
        self.wait()
        for _, pidfd in workers:
            select.select([pidfd], [], [])
            os.close(pidfd)

    def pause(self) -> None:
        """Freeze it and its worker processes (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)
        # Otherwise it might start another worker meanwhile, which nothing would resume or end.
        wait_until(lambda: _is_stopped(self.pid), what="the supervisor to stop")
        for pid in self.pids_of_workers:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume all its processes (SIGCONT)."""
        for pid in (*self.pids_of_workers, self.pid):
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End it if it still runs, in whatever state."""
        if not self.is_alive:
            self._drain_if_ended()
            return
        # The third request kills its jobs too, so that a failed test leaves nothing behind.
        self._is_expected_to_end = True
        self.resume()
        for _ in range(3):
            self.signal(signal.SIGTERM)
            if self._ended_within(1.0):
                break
        if not self._ended_within(5.0):
            self.kill()
        self._drain_if_ended()

    def assert_not_lost(self) -> None:
        """Fail if it ended although the test did not ask for that."""
        assert self.is_alive or self._is_expected_to_end, f"{self!r} ended unexpectedly; it logged: {self.lines}"

    def wait_until_idle(self) -> None:
        """Wait until it uses almost no CPU time."""

        def is_idle(seen: tuple[float, float]) -> bool:
            return seen[1] - seen[0] < 0.02

        def used() -> tuple[float, float]:
            before = self.cpu_s
            self._ended_within(0.5)
            return before, self.cpu_s

        wait_until(used, is_idle, what=f"{self!r} to be idle")

    def _ended_within(self, timeout_s: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _read(self) -> None:
        assert self._process is not None and self._process.stderr is not None  # noqa: PT018
        with self._process.stderr as stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _drain_if_ended(self) -> None:
        # Limited: a job that outlived the worker may hold the pipe open.
        if not self.is_alive and self._reader is not None:
            self._reader.join(timeout=2)

    def _status_kib(self, name: str) -> int:
        for line in Path(f"/proc/{self.worker_pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise AssertionError(f"{self!r} has no {name}")


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"


def _is_worker(pid: int) -> bool:
    try:
        return b"oneshot_queue.workers.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


StartWorker = Callable[..., WorkerProcess]
