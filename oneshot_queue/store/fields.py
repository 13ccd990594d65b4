"""Cleans and flattens values, so that scripts can store them in a job's hash, history and texts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Final

from oneshot_queue.jobs import MAX_TEXT_CHARS
from oneshot_queue.store.calls import Word

MAX_FIELD_CHARS: Final = 64


def one_line(value: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Make a text safe for one line of ``T:text``: cut to ``limit`` characters, then escaped."""
    cut = value if len(value) <= limit else value[: limit - 1] + "…"
    return cut.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


@lru_cache(maxsize=256)
def field(value: str) -> str:
    """Make a name printable and short enough (64 bytes) for a history row and for the job's hash."""
    safe = "".join(each if each.isprintable() else "?" for each in value)[:MAX_FIELD_CHARS]
    while len(safe.encode("utf-8", "replace")) > MAX_FIELD_CHARS:
        safe = safe[:-1]
    return safe


def flat(fields: Mapping[str, Word]) -> tuple[Word, ...]:
    """Flatten pairs into the words of one command."""
    return tuple(chain.from_iterable(fields.items()))
