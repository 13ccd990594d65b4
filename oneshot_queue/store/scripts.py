"""The Lua scripts: one transition, one file, one Redis command.

A script's text is put together once, at import, from files and from the state machine's table, so it is the same in
every process of one version and Redis caches it once. ``-- Uses  name`` in a header adds ``lua/shared/name.lua``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from oneshot_queue.states import FINAL_STATES, TRANSITIONS

_USES: Final = re.compile(r"^-- Uses +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, and the digest that Redis knows it by."""

    name: str
    text: str
    sha: str


def _table() -> str:
    """The state machine's table as Lua."""
    rows = [f"['{state} {event}']='{target}'" for (state, event), target in TRANSITIONS.items()]
    finals = [f"{state}=true" for state in sorted(FINAL_STATES)]
    return f"local TRANSITIONS = {{{', '.join(rows)}}}\nlocal IS_FINAL = {{{', '.join(finals)}}}\n"


@cache
def script(name: str) -> Script:
    """Load ``lua/<name>.lua`` with what it uses."""
    folder = files(__package__) / "lua"
    own = (folder / f"{name}.lua").read_text("utf-8")
    uses = _USES.search(own)
    shared = ["base", *(uses.group(1).split() if uses else ())]
    parts = [_table(), *((folder / "shared" / f"{each}.lua").read_text("utf-8") for each in shared), own]
    text = "\n".join(parts)
    # Redis names scripts by SHA-1; nothing secret hangs on it.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
