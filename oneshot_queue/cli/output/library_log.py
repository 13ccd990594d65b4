"""What the library logs, said as this program says all it has to say."""

from __future__ import annotations

import logging

from oneshot_queue.cli.output.terminal import say


class _Sayer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


_SAYER = _Sayer(logging.WARNING)


def say_what_is_logged() -> None:
    """From now on, say the library's warnings; asked again, nothing changes."""
    logging.getLogger("oneshot_queue").addHandler(_SAYER)
