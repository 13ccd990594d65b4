"""Durations as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.durations import brief_duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1d2h3m4.5s", 93784.5),
        ("0", 0),
        ("0s", 0),
        ("90", 90),
        ("1.5", 1.5),
        ("0.25s", 0.25),
        ("007", 7),
    ],
)
def test_durations_are_read(written: str, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "-5",
        "+5",
        "1e3",
        "nan",
        "inf",
        "5x",
        "5 m",
        "30m1h",
        "5m5m",
        "1.5h",
        "s",
        "٣",
        "0x10",
        "1,5",
        "9" * 400,
    ],
)
def test_invalid_duration_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@given(st.text(max_size=12))
def test_any_text_is_a_finite_duration_or_refused(written: str) -> None:
    try:
        seconds = parse_duration(written)
    except ValueError:
        return
    assert 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-1, "0.0s"),
        (0.34, "0.3s"),
        (9.99, "10.0s"),
        (42.9, "42s"),
        (307, "5m07s"),
        (12000, "3h20m"),
        (86400 * 3 + 3600, "3d01h"),
        (86400 * 400, "400d"),
    ],
)
def test_durations_are_written_briefly(seconds: float, written: str) -> None:
    assert brief_duration(seconds) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (1.5, "1.5s"), (60, "60s"), (90, "90s"), (300, "5m"), (7200, "2h"), (5400, "90m"), (86400, "24h")],
)
def test_duration_is_written_as_it_is_read(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written
    assert parse_duration(written) == seconds
