"""What a worker prints is for a terminal, and what a job says must not act on it."""

from __future__ import annotations

import logging

from oneshot_queue.workers.worker.__main__ import _SafeFormatter


def test_a_logged_message_can_neither_steer_a_terminal_nor_forge_a_line() -> None:
    record = logging.LogRecord("name", logging.ERROR, "path", 1, "job %s", ("\x1b]0;owned\x07\nforged\u202e",), None)

    assert _SafeFormatter("%(levelname)s %(message)s").format(record) == r"ERROR job \x1b]0;owned\x07\nforged\u202e"
