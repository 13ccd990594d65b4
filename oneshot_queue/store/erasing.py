"""Removing all that a namespace has, as calls."""

from __future__ import annotations

from typing import Any

from oneshot_queue.store.calls import Call, scripted, text
from oneshot_queue.store.keys import QueueKeys, namespace_prefix, queues_key


def erase_queue(keys: QueueKeys, cursor: str = "0") -> Call[str]:
    """Remove some keys of a queue; answers with the cursor for the next call, ``"0"`` when all are gone."""
    return _erase(keys.nameless, cursor)


def erase_common(namespace: str, cursor: str = "0") -> Call[str]:
    """The same for the keys of a namespace that belong to no queue."""
    return _erase((namespace_prefix(namespace), queues_key(namespace)), cursor)


def _erase(names: tuple[str, str], cursor: str) -> Call[str]:
    def read(reply: Any) -> str:
        return text(reply[1])

    return scripted("erase", names, (cursor,), read)
