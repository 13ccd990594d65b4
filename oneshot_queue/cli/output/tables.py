"""Jobs, queues and workers as people see them: a table that fits the terminal, plain columns into a pipe. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

GAP: Final = "  "
NARROWEST_LAST: Final = 12
"""Columns that the last, flexible cell should have; before it has less, columns that can be spared go."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        spare: In which order it is left out where there is no room; 0 is never.
    """

    title: str
    spare: int = 0
    is_right: bool = False


Paint = Callable[[str, str], str]
"""Colours a padded cell, given the column's title."""


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, paint: Paint) -> list[str]:
    """Lay out cells, already harmless, in ``width`` columns: titles first, the last cell cut where it must be."""
    shown = list(range(len(columns)))
    widths = [max([len(column.title), *(text_width(row[i]) for row in rows)]) for i, column in enumerate(columns)]
    last = len(columns) - 1

    def room() -> int:
        return width - sum(widths[i] + len(GAP) for i in shown if i != last)

    for i in sorted((i for i in shown if columns[i].spare), key=lambda i: columns[i].spare):
        if room() >= min(NARROWEST_LAST, widths[last]):
            break
        shown.remove(i)
    widths[last] = max(1, min(widths[last], room()))
    lines = []
    for number, row in enumerate([[column.title for column in columns], *rows]):
        cells = []
        for i in shown:
            cell = cut(row[i], widths[i])
            padding = " " * (widths[i] - text_width(cell))
            padded = padding + cell if columns[i].is_right else cell + padding
            cells.append(paint(padded, columns[i].title if number else ""))
        lines.append(GAP.join(cells).rstrip())
    return lines


def plain_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The same without titles, cut or colour, for other programs: every cell but the last is one word."""
    widths = [max((text_width(cell) for cell in cells), default=0) for cells in zip(*rows, strict=True)]
    return [
        GAP.join(cell + " " * (width - text_width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def text_width(text: str) -> int:
    """How many columns a harmless text takes."""
    if text.isascii():
        return len(text)
    return sum(_character_width(each) for each in text)


def cut(text: str, width: int) -> str:
    """Shorten a text to ``width`` columns, and show it by an ellipsis."""
    if text_width(text) <= width:
        return text
    kept, used = [], 1
    for each in text:
        used += _character_width(each)
        if used > width:
            break
        kept.append(each)
    return "".join(kept) + "…"


def short_ids(ids: Sequence[str], least: int = 8) -> dict[str, str]:
    """For each id, the shortest beginning of at least ``least`` characters that none of the others has."""
    found = {}
    for each in ids:
        length = least
        while length < len(each) and any(other != each and other.startswith(each[:length]) for other in ids):
            length += 1
        found[each] = each[:length]
    return found


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
