"""``python -P -m workers``: the same as ``oneshot-queue worker``."""

from __future__ import annotations

import sys

from oneshot_queue.cli import main

if __name__ == "__main__":
    sys.exit(main(["worker", *sys.argv[1:]]))
