"""What went wrong on the way to Redis: nobody answered, or somebody said no, and what to do about it."""

from __future__ import annotations

import os
import re
from typing import Final

from redis import exceptions

from oneshot_queue.errors import BrokerError, BrokerRefused, BrokerUnreachable

DRIVER_ERRORS: Final = (exceptions.RedisError, OSError)

_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.NoPermissionError, "this user lacks a permission; see the permissions in the documentation"),
    (exceptions.AuthenticationError, "check user and password in the URL"),
    (exceptions.AuthorizationError, "check user and password in the URL"),
    (exceptions.OutOfMemoryError, "its memory is full; wait for jobs to end, or raise maxmemory"),
    (exceptions.ReadOnlyError, "it is a replica; connect to the primary"),
    (exceptions.ResponseError, "look at the server's log"),
)
_LOGIN: Final = re.compile(r"^([a-z]+://[^:/@]*):.*@", re.DOTALL)
_QUERY_PASSWORD: Final = re.compile(r"(password=)[^&]*", re.IGNORECASE)
_DAMAGE: Final = re.compile(
    r"WRONGTYPE|not an integer|not a (valid )?float|would overflow|equal or smaller than the target|attempt to "
)
_OOM_IN_SCRIPT: Final = ": -OOM "


def shown_url(url: str) -> str:
    """A broker's URL without its password, fit for messages; even one that a password made invalid."""
    return _QUERY_PASSWORD.sub(r"\1***", _LOGIN.sub(r"\1:***@", url))


def broker_error(url: str, error: Exception) -> BrokerError:
    """Say what an error of the driver means: nobody answered, or somebody said no."""
    where, said = shown_url(url), str(error) or type(error).__name__
    if _OOM_IN_SCRIPT in said:
        # Redis 6.2 tells what a command in a script was refused for, but not by the code that the driver goes by.
        error = exceptions.OutOfMemoryError(said)
    # Refusals first: in redis-py a failed login is also a connection error, or, with asyncio, the cause of one.
    for kind, advice in _ADVICE:
        if isinstance(error, kind) or isinstance(error.__cause__, kind):
            return BrokerRefused(where, said, advice)
    return BrokerUnreachable(where, _system_words(error) or said.rstrip("."))


def _system_words(error: BaseException | None) -> str | None:
    """What the system said of a connection, without the address that the driver repeats."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
            return os.strerror(error.errno).lower()
        error = error.__cause__ or error.__context__
    return None


def is_out_of_memory(error: BrokerError) -> bool:
    """Whether the server refused because ``maxmemory`` is reached."""
    return isinstance(error.__cause__, exceptions.OutOfMemoryError) or _OOM_IN_SCRIPT in str(error.__cause__)


def is_damage(error: Exception) -> bool:
    """Whether the server refused because what stands in a key is not what we keep there: no repetition will help."""
    return isinstance(error, BrokerError) and _DAMAGE.search(str(error.__cause__)) is not None
