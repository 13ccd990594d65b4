"""Health check of a worker's container: exit 0 if the broker sees a live worker of this host, 1 if not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys


def main() -> None:
    """Ask as a person would: ``oneshot-queue workers``."""
    listed = subprocess.run(["oneshot-queue", "workers", "--json"], stdout=subprocess.PIPE, check=True)
    hosts = {worker["host"] for worker in json.loads(listed.stdout)}
    sys.exit(0 if socket.gethostname() in hosts else f"no live worker of {socket.gethostname()}; live: {sorted(hosts)}")


if __name__ == "__main__":
    main()
