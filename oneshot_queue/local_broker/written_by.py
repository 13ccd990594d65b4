"""Which server wrote the data, so that no other kind and no older version is ever started on them.

Redis 6.2 finds nothing it knows in the files of 8.2 and starts *empty*, without a word.
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
    """The newest server that was ever started on the data."""

    kind: str
    version: str

    def can_be_read_by(self, server: Server) -> bool:
        """Whether the server is of the same kind, and not older."""
        return server.kind == self.kind and version_key(server.version) >= version_key(self.version)

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


def has_data(folder: BrokerFolder) -> bool:
    """Whether a server left anything; the record alone is none, so that a start that failed binds nobody."""
    try:
        return any(not each.name.startswith(_NAME) for each in folder.data.iterdir())
    except FileNotFoundError:
        return False


def read(folder: BrokerFolder) -> WrittenBy | None:
    """The record of what wrote the data; ``None`` if there are no data.

    Raises:
        BrokerRefused: There are data, and nothing readable says what wrote them.
    """
    if not has_data(folder):
        return None
    try:
        fields = json.loads((folder.data / _NAME).read_bytes())
        return WrittenBy(kind=str(fields["kind"]), version=str(fields["version"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BrokerRefused(
            folder.url,
            f"there are data in {folder.data}, and {folder.data / _NAME} does not say which server wrote them",
            f"move {folder.data} away to start empty, or write the record by hand: "
            '{"kind": "redis-server", "version": "8.2.3"}',
        ) from problem


def write(folder: BrokerFolder, server: Server) -> None:
    """Record that this server is about to write; before it starts, so that a crash cannot leave newer data unmarked."""
    record = json.dumps({"kind": server.kind, "version": server.version}).encode() + b"\n"
    replace_file(folder.data / _NAME, record)
