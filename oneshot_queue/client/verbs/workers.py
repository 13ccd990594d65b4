"""The verb that lists live workers."""

from __future__ import annotations

from collections.abc import Collection

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Context, Verb, ask
from oneshot_queue.client.presences import workers_of
from oneshot_queue.store import queues as queue_store
from oneshot_queue.wire.presences import WorkerPresence


def live_workers(context: Context, queues: Collection[str] | None = None) -> Verb[list[WorkerPresence]]:
    """Return the live workers of these queues, sorted by name.

    Args:
        queues: ``None`` for all queues.
    """
    if queues is None:
        names = yield from ask(queue_store.queues(context.namespace))
        queues = [name for name in names if NAME_PATTERN.fullmatch(name)]
    return (yield from workers_of(context, queues))
