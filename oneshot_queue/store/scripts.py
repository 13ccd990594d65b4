"""Loads the Lua scripts: one transition, one file, one Redis command.

A script's text is built once per process, from its file, shared files and the state machine's table. It is the same in
every process of one version, so Redis caches it once. ``-- Uses  name`` in a header adds ``lua/shared/name.lua`` and
what that file uses. Each script contains only the shared functions it needs: Redis defines every function in the text
again on each call.
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
    """A script's whole text, and the digest under which Redis caches it."""

    name: str
    text: str
    sha: str


def _table() -> str:
    """Return the state machine's table as Lua."""
    rows = [f"['{state} {event}']='{target}'" for (state, event), target in TRANSITIONS.items()]
    finals = [f"{state}=true" for state in sorted(FINAL_STATES)]
    return f"local TRANSITIONS = {{{', '.join(rows)}}}\nlocal IS_FINAL = {{{', '.join(finals)}}}\n"


@cache
def script(name: str) -> Script:
    """Load ``lua/<name>.lua`` with the shared functions that it uses."""
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
    text = _with_dependencies(_COMMENT.sub("", own), _COMMENT.sub("", "\n".join([_table(), *shared.values()])))
    # Redis identifies scripts by SHA-1; it protects no secret here.
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _with_dependencies(own: str, shared: str) -> str:
    """Prepend the shared statements that a script needs, directly or through others. All of them are ``local``."""
    text, words = own, set(_WORD.findall(own))
    # Lua requires a definition before its use, so every user of a statement comes after it.
    for statement in reversed(_STATEMENT.findall(shared)):
        if not words.isdisjoint(_names(statement)):
            text = statement + text
            words.update(_WORD.findall(statement))
    return text


def _names(statement: str) -> list[str]:
    """Return the names that a ``local`` statement defines."""
    found = _NAMES.match(statement)
    assert found is not None, f"not a local statement: {statement}"
    return found[1].split(", ")


def load_all() -> None:
    """Load every script now: a process that runs out of file descriptors could not read one later."""
    for each in (files(__package__) / "lua").iterdir():
        if each.name.endswith(".lua"):
            script(each.name.removesuffix(".lua"))
