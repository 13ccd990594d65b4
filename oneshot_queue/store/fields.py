"""The transitions of jobs, as calls: one function for each script that changes one.

Every function says which replies it can give; what a script refuses is a value here, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from oneshot_queue.jobs import MAX_TEXT_CHARS
from oneshot_queue.store.calls import Word

MAX_FIELD_CHARS: Final = 64


def one_line(value: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Make a text safe for a line of ``T:text``: backslash, newline and tab escaped, the rest cut at ``limit``."""
    cut = value if len(value) <= limit else value[: limit - 1] + "…"
    return cut.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


@lru_cache(maxsize=256)
def field(value: str) -> str:
    """Make a name safe and short enough for a history row and for the job's hash."""
    safe = "".join(each if each.isprintable() else "?" for each in value)[:MAX_FIELD_CHARS]
    while len(safe.encode("utf-8", "replace")) > MAX_FIELD_CHARS:
        safe = safe[:-1]
    return safe


def flat(fields: Mapping[str, Word]) -> tuple[Word, ...]:
    """Lay pairs out as the words of one command."""
    return tuple(word for pair in fields.items() for word in pair)
