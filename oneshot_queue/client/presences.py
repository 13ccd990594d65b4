"""Which workers are alive: those that hold a lease and renew their presence."""

from __future__ import annotations

from collections.abc import Iterable

from oneshot_queue.client.effects import Context, Verb, run_call, run_calls
from oneshot_queue.store import leases, presence
from oneshot_queue.wire.presences import WorkerPresence


def live_workers(context: Context, queues: Iterable[str]) -> Verb[list[WorkerPresence]]:
    """Return the live workers of these queues, sorted by name."""
    held = yield from run_calls([leases.leases(context.keys_of(name)) for name in queues])
    ids = sorted({leases.worker_of(lease) for answer in held for lease in answer})
    if not ids:
        return []
    workers = yield from run_call(presence.presences(context.namespace, ids))
    return sorted(workers, key=lambda worker: (worker.name, worker.id))
