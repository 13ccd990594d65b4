"""``python -P -m oneshot_queue``: the same as the command ``oneshot-queue``."""

from __future__ import annotations

import sys

from oneshot_queue.cli import main

if __name__ == "__main__":
    sys.exit(main())
