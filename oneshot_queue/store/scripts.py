"""The Lua scripts: one transition, one file, one Redis command.

A script's text is put together once, at import, from files and from the state machine's table, so it is the same in
every process of one version and Redis caches it once. ``-- Uses  name`` in a header adds ``lua/shared/name.lua``, after
what that one uses itself. Of all that is shared a script gets what it comes to: Redis would make every other function
anew, too, with each call.
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
_COMMENT: Final = re.compile(r"^ *--.*\n", re.MULTILINE)
_STATEMENT: Final = re.compile(r"^local .*?(?=^local |\Z)", re.MULTILINE | re.DOTALL)
_NAMES: Final = re.compile(r"local (?:function )?(\w+(?:, \w+)*)")
_WORD: Final = re.compile(r"\w+")


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
    shared: dict[str, str] = {}

    def add(user: str) -> None:
        uses = _USES.search(user)
        for each in uses.group(1).split() if uses else ():
            if each not in shared:
                part = (folder / "shared" / f"{each}.lua").read_text("utf-8")
                add(part)
                shared[each] = part

    add("-- Uses  base")
    add(own)
    text = _with_what_it_needs(_COMMENT.sub("", own), _COMMENT.sub("", "\n".join([_table(), *shared.values()])))
    # Redis names scripts by SHA-1; nothing secret hangs on it.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _with_what_it_needs(own: str, shared: str) -> str:
    """Put those of the shared statements, all of them ``local``, before a script that it or they come to."""
    text, words = own, set(_WORD.findall(own))
    # In Lua a name is made before it is used, so what needs a statement stands behind it.
    for statement in reversed(_STATEMENT.findall(shared)):
        if not words.isdisjoint(_names(statement)):
            text = statement + text
            words.update(_WORD.findall(statement))
    return text


def _names(statement: str) -> list[str]:
    """What a ``local`` statement makes."""
    found = _NAMES.match(statement)
    assert found is not None, f"not a local statement: {statement}"
    return found[1].split(", ")


def load_all() -> None:
    """Read every script now: a process that runs out of descriptors could not read it when it is needed."""
    for each in (files(__package__) / "lua").iterdir():
        if each.name.endswith(".lua"):
            script(each.name.removesuffix(".lua"))
