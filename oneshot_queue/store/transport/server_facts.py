"""Facts that a server reports on a new connection: its run id, version, mode and memory policy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.store.calls import Word, text

OLDEST_VERSION: Final = (6, 2)
QUESTIONS: Final[tuple[tuple[Word, ...], ...]] = (("INFO", "server"), ("INFO", "memory"))
_EVICTS_NOTHING: Final = "noeviction"
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Facts about one run of a server. ``None``: the server did not report it, or does not allow the question.

    Attributes:
        run_id: Changes with each restart; after a change the server may have lost its last writes.
        version: Its Redis version; Valkey reports the Redis version that it is compatible with.
        mode: ``standalone``, ``cluster`` or ``sentinel``.
        maxmemory_policy: Which keys it evicts when its memory is full; only ``noeviction`` loses no job.
    """

    run_id: str | None = None
    version: tuple[int, ...] | None = None
    mode: str | None = None
    maxmemory_policy: str | None = None


def read_facts(replies: Sequence[Any]) -> ServerFacts:
    """Parse the replies to ``QUESTIONS``; a refused one yields no facts."""
    info: dict[str, str] = {}
    for reply in replies:
        if isinstance(reply, bytes | str):
            for line in text(reply).splitlines():
                name, colon, value = line.partition(":")
                if colon:
                    info[name] = value.strip()
    version = _VERSION.fullmatch(info.get("redis_version", ""))
    return ServerFacts(
        run_id=info.get("run_id") or None,
        version=tuple(int(part) for part in version[0].split(".")) if version else None,
        mode=info.get("redis_mode") or None,
        maxmemory_policy=info.get("maxmemory_policy") or None,
    )


def version_problem(facts: ServerFacts) -> str | None:
    """Return why this server is too old, or ``None``; a server that does not report its version is accepted."""
    if facts.version is None or facts.version >= OLDEST_VERSION:
        return None
    return f"it is Redis {'.'.join(str(part) for part in facts.version)}"


def eviction_problem(facts: ServerFacts) -> str | None:
    """Return why this server may evict jobs when its memory is full, or ``None``.

    The policy counts even if no memory limit is set, because one can be set at any time.
    """
    policy = facts.maxmemory_policy
    if policy is None or policy == _EVICTS_NOTHING:
        return None
    return f"its maxmemory-policy is {policy}, which silently evicts jobs; set it to {_EVICTS_NOTHING}"
