"""A private server, as durable as in production, and a queue with workers on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.bench.fleet import Fleet, open_fleet
from oneshot_queue.settings import Settings
from tests.support.servers import ServerProcess, kinds_for

NAMESPACE: Final = Settings().namespace
"""The default, so that keys are as long as in production."""


@dataclass(frozen=True, slots=True)
class PrivateFleet:
    """A fleet and its private server.

    Attributes:
        fleet: The fleet.
        server: Its server.
        folder: A folder for sockets; its path is short.
    """

    fleet: Fleet
    server: ServerProcess
    folder: Path


@contextmanager
def a_server() -> Iterator[ServerProcess]:
    """A fresh server for one measurement."""
    (kind,) = kinds_for(crossed=False)
    server = ServerProcess(kind, options=("--appendfsync", "everysec"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextmanager
def a_fleet() -> Iterator[Fleet]:
    """A fleet without workers on a fresh server, for one measurement; all processes end with it."""
    with a_server() as server, open_fleet(server.url, NAMESPACE) as fleet:
        yield fleet


@contextmanager
def a_private_fleet() -> Iterator[PrivateFleet]:
    """The same, with access to the server."""
    with (
        a_server() as server,
        tempfile.TemporaryDirectory(prefix="oq-") as folder,
        open_fleet(server.url, NAMESPACE) as fleet,
    ):
        yield PrivateFleet(fleet, server, Path(folder))
