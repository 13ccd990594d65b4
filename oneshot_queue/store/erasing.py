"""Removing all that a namespace has, as calls."""

from __future__ import annotations

from typing import Any

from oneshot_queue.store.calls import Call, scripted, text
from oneshot_queue.store.keys import QueueKeys, namespace_prefix


def erase_queue(keys: QueueKeys, cursor: str = "0") -> Call[str]:
    """Remove some keys of a queue; answers with the cursor for the next call, ``"0"`` when all are gone."""
    return _erase(keys.prefix, cursor)


def erase_common(namespace: str, cursor: str = "0") -> Call[str]:
    """The same for the keys of a namespace that belong to no queue."""
    return _erase(namespace_prefix(namespace), cursor)


def _erase(prefix: str, cursor: str) -> Call[str]:
    def read(reply: Any) -> str:
        return text(reply[1])

    return scripted("erase", (prefix,), (cursor,), read)
