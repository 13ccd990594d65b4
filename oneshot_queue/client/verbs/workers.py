"""The verb that lists live workers."""

from __future__ import annotations

from collections.abc import Collection

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Context, Verb, run_call
from oneshot_queue.client.presences import live_workers
from oneshot_queue.store import queues
from oneshot_queue.wire.presences import WorkerPresence


def list_workers(context: Context, names: Collection[str] | None = None) -> Verb[list[WorkerPresence]]:
    """List the live workers of these queues, sorted by name.

    Args:
        names: Names of queues; ``None`` for all queues.
    """
    if names is None:
        known = yield from run_call(queues.queues(context.namespace))
        names = [name for name in known if NAME_PATTERN.fullmatch(name)]
    return (yield from live_workers(context, names))
