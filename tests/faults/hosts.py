"""Two hosts on one machine: network namespaces with their own host names, and a link between them that can be cut.

The server runs on one host, workers on the other. Nothing leaves the namespaces, which are removed afterwards.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from tests.support.servers import ServerKind
from tests.support.waiting import TIMEOUT_S

_SERVER_ADDRESS: Final = "192.0.2.1"
_WORKER_ADDRESS: Final = "192.0.2.2"
PORT: Final = 6379


@functools.cache
def missing_permission() -> str | None:
    """The reason why hosts cannot be created here; ``None`` if they can."""
    if os.geteuid() != 0:
        return "only root can create network namespaces"
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    name = f"oq-{uuid.uuid4().hex[:8]}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if tried.returncode:
        return f"network namespaces are not permitted: {tried.stderr.strip()}"
    linked = subprocess.run(
        ["ip", "link", "add", f"{name}a", "netns", name, "type", "veth", "peer", "name", f"{name}b", "netns", name],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    _ip("netns", "del", name)
    return f"veth links are not permitted: {linked.stderr.strip()}" if linked.returncode else None


class TwoHosts:
    """A host for the server and a host for workers, linked.

    Attributes:
        url: The URL of the server for programs on either host.
    """

    def __init__(self) -> None:
        unique = uuid.uuid4().hex[:6]
        self.server_host, self.worker_host = f"oq-{unique}-s", f"oq-{unique}-w"
        self._links = (f"oq{unique}s", f"oq{unique}w")
        self.url = f"redis://{_SERVER_ADDRESS}:{PORT}/0"
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for host in (self.server_host, self.worker_host):
                _ip("netns", "add", host)
                undo.callback(_ip, "netns", "del", host)
            server_link, worker_link = self._links
            _ip(
                *("link", "add", server_link, "netns", self.server_host, "type", "veth"),
                *("peer", "name", worker_link, "netns", self.worker_host),
            )
            for host, link, address in (
                (self.server_host, server_link, _SERVER_ADDRESS),
                (self.worker_host, worker_link, _WORKER_ADDRESS),
            ):
                _ip("-n", host, "address", "add", f"{address}/24", "dev", link)
                _ip("-n", host, "link", "set", link, "up")
                _ip("-n", host, "link", "set", "lo", "up")
            self._exits = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._exits.close()

    def on_server_host(self, argv: Sequence[str]) -> list[str]:
        """The command that runs a program on the server's host."""
        return _within(self.server_host, argv)

    def on_worker_host(self, argv: Sequence[str]) -> list[str]:
        """The command that runs a program on the workers' host, which has its own host name."""
        return _within(self.worker_host, argv)

    def cut(self) -> int:
        """Cut the link, so that packets vanish silently; returns the number of packets that had passed."""
        passed = self._packets()
        _ip("-n", self.worker_host, "link", "set", self._links[1], "down")
        return passed

    def repair(self) -> None:
        """Repair the link."""
        _ip("-n", self.worker_host, "link", "set", self._links[1], "up")

    def _packets(self) -> int:
        shown = json.loads(_ip("-json", "-stats", "-n", self.worker_host, "link", "show", "dev", self._links[1]))
        return int(shown[0]["stats64"]["rx"]["packets"])


def server_command(kind: ServerKind, folder: str, socket_path: str) -> list[str]:
    """The command of a server that listens on the link of its host, and on a unix socket for the test."""
    assert kind.program is not None, "only a real server listens on a TCP address"
    return [
        kind.program,
        *("--bind", _SERVER_ADDRESS),
        *("--port", str(PORT)),
        *("--unixsocket", socket_path),
        *("--protected-mode", "no"),
        *("--dir", folder),
        *("--appendonly", "yes"),
        *("--save", ""),
    ]


def _within(host: str, argv: Sequence[str]) -> list[str]:
    """Enter the host's network and take its name. Each step replaces the process, so the pid stays the same."""
    renamed = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
    entered = ["nsenter", f"--net=/run/netns/{host}", "unshare", "--uts"]
    return [*entered, sys.executable, "-I", "-S", "-c", renamed, host, *argv]


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout
