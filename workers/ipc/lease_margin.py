"""When jobs that must never overlap with another attempt have to be gone."""

from __future__ import annotations

from typing import Final

LONGEST_MARGIN_S: Final = 5.0


def margin_s(lease_s: float) -> float:
    """Seconds before the end of its lease at which an exclusive job has to go."""
    return min(LONGEST_MARGIN_S, lease_s / 6)
