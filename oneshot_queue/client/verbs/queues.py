"""The verbs that find and list jobs, queues and workers."""

from __future__ import annotations

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.effects import Context, Verb, ask, ask_all
from oneshot_queue.store import queues
from oneshot_queue.store.queues import QueueCounts


def all_queues(context: Context) -> Verb[list[QueueCounts]]:
    """Every queue with its counts, by name."""
    counts: list[QueueCounts] = []
    for name in (yield from ask(queues.queues(context.namespace))):
        if NAME_PATTERN.fullmatch(name):
            keys = context.keys_of(name)
            counts.append(queues.queue_counts(keys, (yield from ask_all(queues.counts(keys)))))
    return counts


def sign_of_life() -> Verb[None]:
    """Ask the broker for no more than an answer."""
    yield from ask(queues.ping())
