"""Lays out rows: a table that fits the terminal, or plain columns for a pipe. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

GAP: Final = "  "
MIN_LAST_WIDTH: Final = 12
"""Width that the last, flexible cell should keep; below it, optional columns are dropped."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        spare: Rank in which the column is dropped when space is short, lowest first; 0 keeps it always.
    """

    title: str
    spare: int = 0
    is_right: bool = False


Paint = Callable[[str, str], str]
"""Colours a padded cell, given the column's title."""


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, paint: Paint) -> list[str]:
    """Lay out escaped cells in ``width`` columns: titles first, the last cell cut to fit."""
    shown = list(range(len(columns)))
    widths = [max([len(column.title), *(text_width(row[i]) for row in rows)]) for i, column in enumerate(columns)]
    last = len(columns) - 1

    def room() -> int:
        return width - sum(widths[i] + len(GAP) for i in shown if i != last)

    for i in sorted((i for i in shown if columns[i].spare), key=lambda i: columns[i].spare):
        if room() >= min(MIN_LAST_WIDTH, widths[last]):
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
    """Lay out rows for programs, without titles, cuts or colours; every cell but the last must be one word."""
    widths = [max((text_width(cell) for cell in cells), default=0) for cells in zip(*rows, strict=True)]
    return [
        GAP.join(cell + " " * (width - text_width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def text_width(text: str) -> int:
    """How many columns an escaped text takes."""
    if text.isascii():
        return len(text)
    return sum(_character_width(each) for each in text)


def cut(text: str, width: int) -> str:
    """Shorten a text to ``width`` columns; a shortened text ends in an ellipsis."""
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
    """For each id, the shortest prefix of at least ``least`` characters that no other id shares."""
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
