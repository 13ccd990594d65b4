"""The verb that checks whether the broker answers."""

from __future__ import annotations

from oneshot_queue.client.effects import Verb, run_call
from oneshot_queue.store import queues


def ping_broker() -> Verb[None]:
    """Check that the broker answers."""
    yield from run_call(queues.ping())
