"""How long before its lease expires an exclusive job must have ended, so that two attempts never overlap."""

from __future__ import annotations

from typing import Final

LONGEST_MARGIN_S: Final = 5.0


def margin_s(lease_s: float) -> float:
    """Return how many seconds before its lease expires an exclusive job must have ended."""
    return min(LONGEST_MARGIN_S, lease_s / 6)
