"""Prints the listings of ``queues`` and ``workers``."""

from __future__ import annotations

from collections.abc import Sequence

from oneshot_queue.cli.output.tables import Column, plain_columns, table
from oneshot_queue.cli.output.terminal import coloured, is_terminal, print_line, print_message, width


def print_listing(columns: Sequence[Column], rows: Sequence[Sequence[str]], if_empty: str) -> None:
    """Print rows: a table on a terminal, plain columns elsewhere.

    Args:
        if_empty: Message for a terminal if there are no rows.
    """
    if not is_terminal(1):
        lines = plain_columns(rows)
    elif rows:
        lines = table(columns, rows, width(), lambda cell, title: cell if title else coloured(cell, "dim"))
    else:
        print_message(if_empty)
        lines = []
    for line in lines:
        print_line(line)
