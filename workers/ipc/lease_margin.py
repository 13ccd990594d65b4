"""When an exclusive job, which must never overlap with another attempt, has to be gone."""

from __future__ import annotations

from typing import Final

LONGEST_MARGIN_S: Final = 5.0


def margin_s(lease_s: float) -> float:
    """Seconds before its lease expires at which an exclusive job has to be gone."""
    return min(LONGEST_MARGIN_S, lease_s / 6)
