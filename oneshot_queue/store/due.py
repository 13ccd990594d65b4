"""The transitions of jobs, as calls: one function for each script that changes one.

Every function says which replies it can give; what a script refuses is a value here, not an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oneshot_queue.settings import Settings
from oneshot_queue.store.calls import Call, scripted
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.retention import keep_failed_ms


@dataclass(frozen=True, slots=True)
class Promoted:
    """What the clock brought about: how many jobs, and in how many seconds there is more to do, if anything waits."""

    count: int
    next_s: float | None


def promote(keys: QueueKeys, settings: Settings) -> Call[Promoted]:
    """Let jobs that are due wait for a worker, and end those that nobody started in time."""

    def read(reply: Any) -> Promoted:
        wait_ms = int(reply[2])
        return Promoted(int(reply[1]), None if wait_ms < 0 else wait_ms / 1000)

    return scripted("promote", keys.queue_keys, (keep_failed_ms(settings),), read)
