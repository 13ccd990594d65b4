"""The one factor by which every time limit of the tests is scaled.

The numbers in the tests are what two quiet cores need, with room to spare. A machine that is slower, or busy with other
work, needs longer for everything, so each limit is multiplied here. A limit costs nothing while tests pass.
"""

from __future__ import annotations

import os
from typing import Final

FACTOR: Final = float(os.environ.get("TEST_TIME_FACTOR", "4"))


def limit_s(seconds: float) -> float:
    """Return how long a test waits at most for something that takes less than ``seconds`` on a quiet machine."""
    return seconds * FACTOR
