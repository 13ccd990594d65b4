"""Waits double after every failure, up to a cap, and are spread."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot_queue.backoff import retry_delay


def test_wait_doubles_up_to_the_cap() -> None:
    waits = [retry_delay(attempt, base_s=0.1, cap_s=1.0, spread=1.0) for attempt in range(1, 7)]

    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_spread_shortens_the_wait() -> None:
    assert retry_delay(3, base_s=1.0, cap_s=60.0, spread=0.5) == 2.0


@settings(deadline=None)
@given(st.integers(1, 10**9), st.floats(0.001, 100), st.floats(0.001, 1_000), st.floats(0.5, 1.0))
def test_wait_is_never_beyond_the_cap_nor_below_half_of_what_it_would_be(
    attempt: int, base_s: float, cap_s: float, spread: float
) -> None:
    wait = retry_delay(attempt, base_s=base_s, cap_s=cap_s, spread=spread)

    assert 0 < wait <= cap_s
    assert wait >= min(base_s, cap_s) / 2


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_wait_never_shrinks_with_more_failures(attempt: int) -> None:
    first, second = (retry_delay(each, base_s=0.1, cap_s=1e12, spread=1.0) for each in (attempt, attempt + 1))

    assert first <= second


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempt_below_1_is_refused(attempt: int) -> None:
    with pytest.raises(ValueError, match="below 1"):
        retry_delay(attempt, base_s=1.0, cap_s=1.0, spread=1.0)
