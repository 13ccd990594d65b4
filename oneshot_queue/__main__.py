"""``python -P -m oneshot_queue``: the same as ``oneshot-queue``."""

from __future__ import annotations

from oneshot_queue.cli import program

if __name__ == "__main__":
    program()
