"""How long to wait before a retry. Pure: the caller draws the random number and waits."""

from __future__ import annotations


def retry_delay(attempt: int, *, base_s: float, cap_s: float, spread: float) -> float:
    """Double the wait after every failed attempt, up to a cap.

    Args:
        attempt: Number of the attempt that just failed; the first is 1.
        base_s: Seconds to wait after the first failure.
        cap_s: Seconds never to exceed.
        spread: The share of the full wait, drawn from ``[0.5, 1.0]``, so that clients that failed at the same time do
            not retry at the same time.

    Raises:
        ValueError: ``attempt`` is below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempt {attempt} is below 1")
    # Beyond 2**32 the cap has long been reached, and a float would overflow.
    return min(cap_s, base_s * 2.0 ** min(attempt - 1, 32)) * spread
