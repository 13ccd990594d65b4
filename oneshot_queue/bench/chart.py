"""The table of measured values; on a terminal, with a bar for each value. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from oneshot_queue.bench.figures import Line, number

_NARROWEST_BAR: Final = 10
_WIDEST_BAR: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_MET: Final = {True: "✓", False: "✗", None: ""}


def table(lines: Sequence[Line], width: int | None = None) -> Iterator[str]:
    """Yield the rows of the table.

    Args:
        lines: The measured values, one for each row.
        width: Columns of the terminal. Bars fill the space that the cells leave; the longest bar of each unit fills
            all of it. ``None``: the output is not a terminal, and there are no bars.
    """
    rows = [(line.name, f"{number(line.value)} {line.unit}", _spread(line), _target(line)) for line in lines]
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*rows, strict=True)]
    room = 0 if width is None else min(_WIDEST_BAR, width - sum(widths) - 2 * (len(widths) + 1))
    longest: dict[str, float] = {}
    for line in lines:
        longest[line.unit] = max(longest.get(line.unit, 0.0), line.value)
    for line, row in zip(lines, rows, strict=True):
        cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=True)]
        if room >= _NARROWEST_BAR:
            cells.append(bar(line.value, longest[line.unit], room))
        yield f"  {'  '.join(cells)}".rstrip()


def bar(value: float, longest: float, width: int) -> str:
    """A bar for ``value``, on a scale where ``longest`` has ``width`` columns."""
    eighths = round(8 * width * max(0.0, value) / longest) if longest > 0 else 0
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def _spread(line: Line) -> str:
    return "" if line.spread is None else f"{number(line.spread[0])} … {number(line.spread[1])}"


def _target(line: Line) -> str:
    if line.target is None:
        return ""
    return f"{'≥' if line.target.is_floor else '≤'} {number(line.target.bound)} {_MET[line.is_met]}"
