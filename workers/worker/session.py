"""What this worker needs to talk to its broker."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from oneshot_queue.clock import Clock
from oneshot_queue.settings import Settings
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.pubsub import Announcements
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.server_clock import ServerClock


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is.

    Attributes:
        worker_id: Unique; the ids of its leases are derived from it.
        name: Display name; also written to the history of its jobs.
    """

    worker_id: str
    name: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)


@dataclass(frozen=True, slots=True)
class Session:
    """What this worker needs to talk to its broker: the connection, its identity, its leases and the clocks.

    Attributes:
        connection: For all calls except blocking ones.
        announcements: The only pub/sub subscriber of this process.
        leases: One for each queue, in the order in which the queues were given.
        server_clock: The clock of the Redis server, in ms.
    """

    connection: AsyncConnection
    announcements: Announcements
    identity: Identity
    settings: Settings
    leases: Sequence[Lease]
    clock: Clock
    server_clock: ServerClock
