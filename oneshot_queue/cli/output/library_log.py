"""Prints the library's warnings as messages of this program."""

from __future__ import annotations

import logging

from oneshot_queue.cli.output.terminal import print_message


class _MessageHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_message(record.getMessage())


_HANDLER = _MessageHandler(logging.WARNING)


def print_library_warnings() -> None:
    """Print the library's warnings from now on; calling it again changes nothing."""
    logging.getLogger("oneshot_queue").addHandler(_HANDLER)
