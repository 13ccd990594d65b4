"""Which server wrote the data, so that no other kind and no older version ever opens it.

Redis 6.2 does not recognise the files of 8.2, and silently starts *empty*.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.local_broker.files import replace_file
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.servers import Server, version_key

_NAME: Final = "written_by.json"


@dataclass(frozen=True, slots=True)
class WrittenBy:
    """The newest server that was ever started on the data.

    Attributes:
        kind: ``redis-server`` or ``valkey-server``.
        version: Its version.
    """

    kind: str
    version: str

    def can_be_read_by(self, server: Server) -> bool:
        """Whether the server is of the same kind and not older."""
        return server.kind == self.kind and version_key(server.version) >= version_key(self.version)

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


def has_data(folder: BrokerFolder) -> bool:
    """Whether a server left data. The record alone does not count, so that a failed start rules out no other server."""
    try:
        return any(not each.name.startswith(_NAME) for each in folder.data.iterdir())
    except FileNotFoundError:
        return False


def read(folder: BrokerFolder) -> WrittenBy | None:
    """Read the record of the server that wrote the data; ``None`` if there is no data.

    Raises:
        BrokerRefused: There is data, but no readable record of its writer.
    """
    if not has_data(folder):
        return None
    try:
        fields = json.loads((folder.data / _NAME).read_bytes())
        return WrittenBy(kind=str(fields["kind"]), version=str(fields["version"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BrokerRefused(
            folder.url,
            f"{folder.data} has data, but {folder.data / _NAME} does not say which server wrote it",
            f"move {folder.data} away to start empty, or write that file by hand: "
            '{"kind": "redis-server", "version": "8.2.3"}',
        ) from problem


def write(folder: BrokerFolder, server: Server) -> None:
    """Record the server that will write the data. Call it before the start, so that a crash leaves no unmarked data."""
    record = json.dumps({"kind": server.kind, "version": server.version}).encode() + b"\n"
    replace_file(folder.data / _NAME, record)
