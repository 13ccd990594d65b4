"""What a server says of itself when a connection is made: which run of it this is, its version, its memory's policy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.store.calls import Word, text

OLDEST_VERSION: Final = (6, 2)
QUESTIONS: Final[tuple[tuple[Word, ...], ...]] = (("INFO", "server"), ("INFO", "memory"))
_KEEPS_ALL: Final = "noeviction"
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What one run of a server says of itself. ``None``: it did not say, or may not be asked.

    Attributes:
        run_id: Another one after each restart; whoever sees a new one may see older data.
        version: As a Redis; Valkey says which Redis it can stand for.
        mode: ``standalone``, ``cluster`` or ``sentinel``.
        maxmemory_policy: What it throws away when its memory is full; ``noeviction`` is the only one that loses no job.
    """

    run_id: str | None = None
    version: tuple[int, ...] | None = None
    mode: str | None = None
    maxmemory_policy: str | None = None


def read_facts(replies: Sequence[Any]) -> ServerFacts:
    """Make facts of the replies to ``QUESTIONS``; a refusal is no fact."""
    said: dict[str, str] = {}
    for reply in replies:
        if isinstance(reply, bytes | str):
            for line in text(reply).splitlines():
                name, colon, value = line.partition(":")
                if colon:
                    said[name] = value.strip()
    version = _VERSION.fullmatch(said.get("redis_version", ""))
    return ServerFacts(
        run_id=said.get("run_id") or None,
        version=tuple(int(part) for part in version[0].split(".")) if version else None,
        mode=said.get("redis_mode") or None,
        maxmemory_policy=said.get("maxmemory_policy") or None,
    )


def version_problem(facts: ServerFacts) -> str | None:
    """Why this server is too old, or ``None``; who does not say is given the benefit of the doubt."""
    if facts.version is None or facts.version >= OLDEST_VERSION:
        return None
    return f"it is Redis {'.'.join(str(part) for part in facts.version)}"


def eviction_problem(facts: ServerFacts) -> str | None:
    """Why this server may throw jobs away when its memory is full, or ``None``.

    A limit may be set at any time, so the policy counts also where there is none yet.
    """
    policy = facts.maxmemory_policy
    if policy is None or policy == _KEEPS_ALL:
        return None
    return f"its maxmemory-policy is {policy}, which throws jobs away without a word; set it to {_KEEPS_ALL}"
