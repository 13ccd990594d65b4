"""The call that acts on due times and start deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oneshot_queue.settings import Settings
from oneshot_queue.store.calls import Call, scripted
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.retention import keep_failed_ms


@dataclass(frozen=True, slots=True)
class Promoted:
    """How many jobs became ready or expired, and seconds until the next one does; ``None`` if there is none."""

    count: int
    next_s: float | None


def promote(keys: QueueKeys, settings: Settings) -> Call[Promoted]:
    """Make due jobs ready, and fail those that were not started before their deadline."""

    def read(reply: Any) -> Promoted:
        wait_ms = int(reply[2])
        return Promoted(int(reply[1]), None if wait_ms < 0 else wait_ms / 1000)

    return scripted("promote", keys.queue_keys, (keep_failed_ms(settings),), read)
