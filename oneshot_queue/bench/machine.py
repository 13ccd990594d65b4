"""The facts about the machine and the server that are printed with a benchmark."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.store.checkup import server_info, server_setting
from oneshot_queue.store.transport.connection import SyncConnection


def machine_facts(url: str) -> Mapping[str, str]:
    """CPUs, load before the benchmark, and versions, by name; ``Redis: unknown`` if this user may not run INFO."""
    found = {
        "CPUs": str(len(os.sched_getaffinity(0))),
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
        "Python": platform.python_version(),
        "Linux": platform.release(),
    }
    connection = SyncConnection(url)
    try:
        info = connection.run(server_info("server")) | connection.run(server_info("persistence"))
        found["Redis"] = info.get("redis_version", "unknown")
        found["AOF"] = "off"
        if info.get("aof_enabled") == "1":
            found["AOF"] = connection.run(server_setting("appendfsync")) or "on"
    except BrokerRefused:
        found.setdefault("Redis", "unknown")
    finally:
        connection.close()
    return found
