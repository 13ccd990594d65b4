"""``queues`` and ``workers``: what waits, and who works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oneshot_queue.cli.output.tables import Column, plain_columns, table
from oneshot_queue.cli.output.terminal import coloured, is_terminal, put, say, width

if TYPE_CHECKING:
    pass


def print_listing(columns: Sequence[Column], rows: Sequence[Sequence[str]], if_none: str) -> None:
    """Print rows: a table on a terminal, plain columns elsewhere."""
    if not is_terminal(1):
        lines = plain_columns(rows)
    elif rows:
        lines = table(columns, rows, width(), lambda cell, title: cell if title else coloured(cell, "dim"))
    else:
        say(if_none)
        lines = []
    for line in lines:
        put(line)
