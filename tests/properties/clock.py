"""The clock that a story's scripts go by: it stands still, and steps forwards or back when the story says so.

Nobody can move a server's clock from here, nor an imitation's. So each script reads two numbers of ours where it reads
``TIME``, which answers with two numbers; not another letter of it is changed. That shows on both sorts of server what
our scripts make of a clock that jumps, and every instant they write can be foretold. It does not show what a server
makes of it: the ids of entries and the ends of keys go by its own clock.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.scripts import Script

BEGIN_MS: Final = 1_700_000_000_000
_TIME: Final = "redis.call('TIME')"
_OURS: Final = "redis.call('LRANGE', 'clock:' .. KEYS[1], 0, 1)"


@cache
def by_our_clock(script: Script) -> Script:
    """The same script, but for where it reads the time."""
    assert script.text.count("'TIME'") == script.text.count(_TIME) <= 1
    text = script.text.replace(_TIME, _OURS)
    return Script(script.name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def set_clock(redis: Any, keys: QueueKeys, now_ms: int) -> None:
    """Let it be another time."""
    name = _name(keys)
    redis.pipeline(transaction=True).delete(name).rpush(name, now_ms // 1000, now_ms % 1000 * 1000).execute()


def remove_clock(redis: Any, keys: QueueKeys) -> None:
    redis.delete(_name(keys))


def _name(keys: QueueKeys) -> str:
    """No key of the queue's: what it forgets, the clock does not."""
    return f"clock:{keys.prefix}"
