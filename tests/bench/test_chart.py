"""The table of ``bench`` and its bars."""

from oneshot_queue.bench.chart import bar, table
from oneshot_queue.bench.figures import Line, Target

LINES = [
    Line("fast", 2_000.0, "jobs/s", (1_900.0, 2_100.0), Target.at_least(1_000)),
    Line("slow", 500.0, "jobs/s", target=Target.at_least(1_000)),
    Line("wait", 3.0, "ms"),
]


def test_cells_are_aligned_and_targets_show_whether_they_are_met() -> None:
    assert list(table(LINES)) == [
        "  fast  2,000 jobs/s  1,900 … 2,100  ≥ 1,000 ✓",
        "  slow  500 jobs/s                   ≥ 1,000 ✗",
        "  wait  3.00 ms",
    ]


def test_the_longest_bar_of_each_unit_fills_the_rest_of_the_line() -> None:
    fast, slow, wait = (len(row.partition("█")[1] + row.partition("█")[2]) for row in table(LINES, width=80))

    assert (fast, slow, wait) == (32, 8, 32)


def test_a_narrow_terminal_gets_no_bars() -> None:
    assert list(table(LINES, width=50)) == list(table(LINES))


def test_bars_are_drawn_in_eighths() -> None:
    assert [bar(value, 16.0, 2) for value in (0.0, 1.0, 8.0, 15.0, 16.0)] == ["", "▏", "█", "█▉", "██"]
    assert bar(0.0, 0.0, 2) == ""


def test_no_lines_are_an_empty_table() -> None:
    assert list(table([], width=80)) == []
