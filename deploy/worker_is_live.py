"""Health check for a worker container: exit 0 if the broker lists a live worker of this host, otherwise 1."""

from __future__ import annotations

import json
import socket
import subprocess
import sys


def main() -> None:
    """Run ``oneshot-queue workers --json`` and look for this host."""
    listed = subprocess.run(["oneshot-queue", "workers", "--json"], stdout=subprocess.PIPE, check=True)
    hosts = {worker["host"] for worker in json.loads(listed.stdout)}
    sys.exit(0 if socket.gethostname() in hosts else f"no live worker of {socket.gethostname()}; live: {sorted(hosts)}")


if __name__ == "__main__":
    main()
