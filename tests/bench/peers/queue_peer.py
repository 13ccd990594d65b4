"""A queue that runs in an environment of its own (``driving.py``) and is measured from here."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oneshot_queue.bench.figures import MeasurementSpoilt
from tests.bench.fleet import a_server
from tests.bench.peers.driving import DIE_WITH_PARENT, STOP_S, URL
from tests.bench.peers.environments import ROOT, Environment
from tests.bench.peers.peer import PeerMissing, Turn, Work, check, tree_cpu_s
from tests.support.limits import limit_s
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until

ANSWER_S: Final = limit_s(300.0)
"""Far more than any peer needs for one batch."""
_REST_S: Final = 0.3
_AT_REST: Final = 0.25
"""Share of one core. A peer below it is only polling; a starting Python process uses a full core."""


@dataclass(frozen=True, slots=True)
class QueuePeer:
    """A queue, given by the module that drives it.

    Attributes:
        name: Its name in the table.
        module: A module like those in ``queues/``.
        environment: The environment in which it is installed; ``None`` for this interpreter.
    """

    name: str
    module: str
    environment: Environment | None

    def describe(self) -> tuple[str, str]:
        """Start it once, without any work, and return its version and set-up.

        Raises:
            PeerMissing: It cannot be installed or started.
        """
        if self.environment is not None:
            self.environment.install()
        try:
            with self._started() as (driver, _):
                return str(driver.introduction["version"]), str(driver.introduction["setup"])
        except MeasurementSpoilt as problem:
            raise PeerMissing(f"it does not start: {problem}") from problem

    def take_turn(self, work: Work) -> Turn:
        """Do the work on a fresh server, with idle, warm workers."""
        with self._started() as (driver, server):
            roots = (driver.pid, server.pid)
            driver.run(work.warm_up)
            _wait_for_rest(roots)
            driver.run(work.warm_up)
            before_s = tree_cpu_s(roots)
            took_s = driver.run(work.commands)
            used_s = tree_cpu_s(roots) - before_s
            check(driver.outcomes(), work.commands)
            return Turn(took_s, used_s)

    @contextmanager
    def _started(self) -> Iterator[tuple[_Driver, ServerProcess]]:
        with a_server() as server:
            driver = _Driver(self._python(), self.module, self._variables(server.url), server.folder)
            try:
                driver.introduction = driver.answer()
                yield driver, server
            finally:
                driver.stop()

    def _python(self) -> str:
        return sys.executable if self.environment is None else str(self.environment.python)

    def _variables(self, url: str) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        if self.environment is not None:
            path = f"{self.environment.programs}{os.pathsep}{path}"
        return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), URL: url}


class _Driver:
    """The process that starts a peer's workers and gives them work."""

    def __init__(self, python: str, module: str, environment: dict[str, str], folder: Path) -> None:
        self.introduction: dict[str, Any] = {}
        self._log = folder / "driver"
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*DIE_WITH_PARENT, python, "-P", "-m", "tests.bench.peers.driving", module],
                env=environment,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )

    @property
    def pid(self) -> int:
        """Its process id; the workers are its children."""
        return self._process.pid

    def run(self, commands: int) -> float:
        """Run this many commands, and return the seconds it took."""
        return float(self._ask(f"run {commands}")["took_s"])

    def outcomes(self) -> Counter[tuple[int, str, str]]:
        """The results of the commands of the last run, with their counts."""
        return Counter({(code, out, err): count for code, out, err, count in self._ask("check")["outcomes"]})

    def answer(self) -> dict[str, Any]:
        """Its next answer.

        Raises:
            MeasurementSpoilt: It exited, or does not answer; the message contains its last output.
        """
        assert self._process.stdout is not None, "it was started with a pipe"
        readable, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            words = "\n".join(self._log.read_text(errors="replace").strip().splitlines()[-5:])
            raise MeasurementSpoilt(f"{'it exited' if readable else f'no answer within {ANSWER_S:g} s'}: {words}")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """Close its stdin, at which it stops its workers and exits; kill it if that takes too long."""
        assert self._process.stdin is not None, "it was started with a pipe"
        assert self._process.stdout is not None, "it was started with a pipe"
        self._process.stdin.close()
        try:
            self._process.wait(3 * STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, request: str) -> dict[str, Any]:
        assert self._process.stdin is not None, "it was started with a pipe"
        try:
            self._process.stdin.write(f"{request}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # Its last output is read below.
        return self.answer()


def _wait_for_rest(roots: tuple[int, ...]) -> None:
    """Wait until the processes use hardly any CPU, which shows that all have started and wait for work."""
    checked_at, used_s = time.monotonic(), tree_cpu_s(roots)

    def use() -> float | None:
        nonlocal checked_at, used_s
        now = time.monotonic()
        if now - checked_at < _REST_S:
            return None
        total_s = tree_cpu_s(roots)
        share = (total_s - used_s) / (now - checked_at)
        checked_at, used_s = now, total_s
        return share

    wait_until(use, lambda share: share is not None and share < _AT_REST, what="the workers to become idle")
