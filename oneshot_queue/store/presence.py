"""Calls about the presence of workers: what each one publishes about itself, under a key that expires."""

from __future__ import annotations

from typing import Any, Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.store.calls import Call, plain, scripted
from oneshot_queue.store.keys import namespace_prefix, presence_key
from oneshot_queue.wire.presences import WorkerPresence, pack_presence, unpack_presence

PRESENCE_TTL_S: Final = 15


def show_presence(namespace: str, presence: WorkerPresence) -> Call[None]:
    """Publish a worker's presence for ``PRESENCE_TTL_S`` seconds."""
    own = (namespace_prefix(namespace), presence_key(namespace, presence.id))
    return scripted("show_presence", own, (pack_presence(presence), PRESENCE_TTL_S), lambda _: None)


def end_presence(namespace: str, worker_id: str) -> Call[None]:
    """Remove a worker's presence."""
    return plain("DEL", presence_key(namespace, worker_id), read=lambda _: None)


def presences(namespace: str, worker_ids: list[str]) -> Call[list[WorkerPresence]]:
    """Return the presences of those workers that have one. A malformed presence counts as none."""
    names = [presence_key(namespace, each) for each in worker_ids]

    def read(reply: Any) -> list[WorkerPresence]:
        found = []
        for raw in reply:
            try:
                found += [unpack_presence(raw)] if raw else []
            except MalformedData:
                continue
        return found

    return plain("MGET", *names, read=read)
