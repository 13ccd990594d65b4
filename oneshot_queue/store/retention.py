"""Calls that remove finished jobs past their limits, and erase whole queues."""

from __future__ import annotations

from typing import Any

from oneshot_queue.settings import Settings
from oneshot_queue.store.calls import Call, scripted, text
from oneshot_queue.store.keys import QueueKeys, namespace_prefix, queues_key


def prune(keys: QueueKeys, settings: Settings) -> Call[int]:
    """Remove at most 100 finished jobs that are too old, too many or too large; answers how many were removed."""
    return scripted("prune", keys.queue_keys, retention_of(settings), lambda reply: int(reply[1]))


def keep_failed_ms(settings: Settings) -> int:
    """Milliseconds for which a FAILED or INTERRUPTED job is kept."""
    return round(settings.keep_failed_s * 1000)


def retention_of(settings: Settings) -> tuple[int, int, int, int]:
    """Return the limits for finished jobs: ms to keep COMPLETED ones, ms for others, jobs, bytes of output."""
    return (
        round(settings.keep_completed_s * 1000),
        keep_failed_ms(settings),
        settings.max_finished_jobs,
        settings.max_finished_output_bytes,
    )


def erase_queue(keys: QueueKeys, cursor: str = "0") -> Call[str]:
    """Remove some keys of a queue; answers with the cursor for the next call, ``"0"`` once all keys are gone."""
    return _erase(keys.queue_keys, cursor)


def erase_common(namespace: str, cursor: str = "0") -> Call[str]:
    """Remove some keys of a namespace that belong to no queue; answers as ``erase_queue`` does."""
    return _erase((namespace_prefix(namespace), queues_key(namespace)), cursor)


def _erase(names: tuple[str, str], cursor: str) -> Call[str]:
    def read(reply: Any) -> str:
        return text(reply[1])

    return scripted("erase", names, (cursor,), read)
