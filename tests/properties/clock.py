"""The clock of a story's scripts: it moves only when the story steps it forwards or back.

The tests cannot set the clock of a server. So each script reads two numbers from a key where it would read ``TIME``,
which also returns two numbers; nothing else in it changes. This tests the scripts with a clock that jumps, and
makes every time that they write predictable. It does not test the server with such a clock: the ids of stream entries
and the expiry of keys still follow the server's clock.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, Final

from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.scripts import Script

BEGIN_MS: Final = 1_700_000_000_000
_TIME: Final = "redis.call('TIME')"
_TEST_CLOCK: Final = "redis.call('LRANGE', 'clock:' .. KEYS[1], 0, 1)"


@cache
def with_test_clock(script: Script) -> Script:
    """The same script, reading the time from our key."""
    assert script.text.count("'TIME'") == script.text.count(_TIME) <= 1
    text = script.text.replace(_TIME, _TEST_CLOCK)
    return Script(script.name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def set_clock(redis: Any, keys: QueueKeys, now_ms: int) -> None:
    """Set the time."""
    name = _name(keys)
    redis.pipeline(transaction=True).delete(name).rpush(name, now_ms // 1000, now_ms % 1000 * 1000).execute()


def remove_clock(redis: Any, keys: QueueKeys) -> None:
    redis.delete(_name(keys))


def _name(keys: QueueKeys) -> str:
    """Not a key of the queue: the clock must survive when the queue is rolled back."""
    return f"clock:{keys.prefix}"
