"""Durations as people write and read them: ``90s``, ``5m``, ``1h30m``. Pure."""

from __future__ import annotations

import math
import re
from typing import Final

_WRITTEN: Final = re.compile(
    r"(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+(?:\.[0-9]+)?)s)?", re.ASCII
)
_PLAIN: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def parse_duration(written: str) -> float:
    """Read ``90s``, ``5m``, ``1h30m``, ``1d`` or plain seconds such as ``1.5``.

    Returns:
        Seconds.

    Raises:
        ValueError: The text is none of these; the message shows valid ones.
    """
    if _PLAIN.fullmatch(written):
        seconds = float(written)
    else:
        match = _WRITTEN.fullmatch(written)
        if match is None or not written:
            raise ValueError(f"{written!r} is not a valid duration; write 90s, 5m, 1h30m or plain seconds such as 0.5")
        seconds = math.fsum(float(value) * _SECONDS[unit] for unit, value in match.groupdict().items() if value)
    if not math.isfinite(seconds):
        raise ValueError(f"{written[:20]}… is too long for a duration")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration as ``parse_duration`` reads it, in one unit if that is exact: ``60s``, ``5m``, ``1.5s``."""
    for unit, size in _SECONDS.items():
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:g}s"


def brief_duration(seconds: float) -> str:
    """Write a duration in at most six characters, in its two largest units: ``0.3s``, ``42s``, ``5m07s``, ``3h20m``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60:02d}m"
    if whole < 100 * 86_400:
        return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"
    return f"{whole // 86_400}d"
