"""The verb that lists the queues of a broker and their counts."""

from __future__ import annotations

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Context, Verb, run_call, run_calls
from oneshot_queue.store import queues
from oneshot_queue.store.queues import QueueCounts


def list_queues(context: Context) -> Verb[list[QueueCounts]]:
    """List all queues with their counts, sorted by name."""
    counts: list[QueueCounts] = []
    for name in (yield from run_call(queues.queues(context.namespace))):
        if NAME_PATTERN.fullmatch(name):
            keys = context.keys_of(name)
            counts.append(queues.queue_counts(keys, (yield from run_calls(queues.counts(keys)))))
    return counts
