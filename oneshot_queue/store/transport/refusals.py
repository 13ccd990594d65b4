"""What went wrong on the way to Redis: nobody answered, or somebody said no, and what to do about it.

Redis begins a refusal with a code. One table says for each code whether it passes by itself, so that a worker backs off
and tries again, or needs a person, so that it stops with a clear text.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from redis import exceptions

from oneshot_queue.errors import BrokerError, BrokerRefused, BrokerUnreachable
from oneshot_queue.urls import shown_url

DRIVER_ERRORS: Final = (exceptions.RedisError, OSError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a code of Redis means to us.

    Attributes:
        advice: What to do about it.
        is_passing: It goes by itself, or with time; worth trying again.
        is_not_now: The server cannot serve anybody at the moment; as if nobody had answered.
        needs_person: It stays until a person changes something.
    """

    advice: str
    is_passing: bool = False
    is_not_now: bool = False
    needs_person: bool = False


def _not_now(advice: str) -> Refusal:
    return Refusal(advice, is_passing=True, is_not_now=True)


_LOGIN_ADVICE: Final = "check user and password in the URL"
_CLUSTER_ADVICE: Final = "is it part of a cluster? then write redis+cluster://"
OLD_SERVER_ADVICE: Final = "oneshot-queue needs Redis 6.2 or later, or Valkey"

REFUSALS: Final[dict[str, Refusal]] = {
    "LOADING": _not_now("it has just started; it answers once its data is in memory"),
    "BUSY": _not_now("a script or function keeps it busy; SCRIPT KILL ends one that has written nothing"),
    "MASTERDOWN": _not_now("it is a replica that has lost its primary"),
    "CLUSTERDOWN": _not_now("a part of the cluster is down; it answers again after a failover"),
    "TRYAGAIN": _not_now("the queue is moving to another node of the cluster"),
    "UNBLOCKED": _not_now("it has just become a replica, or the queue has moved"),
    "MAXCLIENTS": _not_now("too many clients are connected to it; raise maxclients, or end some"),
    "READONLY": Refusal("it is a replica; connect to the primary", is_passing=True),
    "OOM": Refusal("its memory is full; wait for jobs to end, or raise maxmemory", is_passing=True),
    "MISCONF": Refusal("it cannot write its data to disk; look at its log and its free disk space", is_passing=True),
    "NOREPLICAS": Refusal("too few of its replicas are connected for min-replicas-to-write", is_passing=True),
    "NOPERM": Refusal("this user lacks a permission; see the permissions in the documentation", needs_person=True),
    "WRONGPASS": Refusal(_LOGIN_ADVICE, needs_person=True),
    "NOAUTH": Refusal(_LOGIN_ADVICE, needs_person=True),
    "LOGIN": Refusal(_LOGIN_ADVICE, needs_person=True),
    "CERTIFICATE": Refusal("check the host's name, and that its certificate is valid and trusted", needs_person=True),
    "UNKNOWN": Refusal(OLD_SERVER_ADVICE, needs_person=True),
    "MOVED": Refusal(_CLUSTER_ADVICE, needs_person=True),
    "ASK": Refusal(_CLUSTER_ADVICE, needs_person=True),
    "NOCLUSTER": Refusal("it is one server, no cluster: write redis://HOST:PORT", needs_person=True),
    "CROSSSLOT": Refusal("a call named keys of two queues, which a cluster cannot do at once; please report it"),
    "NOGROUP": Refusal("a consumer group is gone; the next claim makes it again"),
    "NOSCRIPT": Refusal("it forgot a script while we sent it; try again"),
    "EXECABORT": Refusal("a command of a transaction was refused; look at the server's log"),
}
"""By code, and by a word of ours in capitals where Redis has none."""

_OTHER: Final = Refusal("look at the server's log")
_PHRASES: Final = (
    (re.compile(r"max number of clients"), "MAXCLIENTS"),
    (re.compile(r"unknown (redis )?command", re.IGNORECASE), "UNKNOWN"),
    (re.compile(r"cluster support disabled"), "NOCLUSTER"),
    # Of a command in a script: Redis 6.2, and Redis 7 and later.
    (re.compile(r"executing the script can't|no permissions to "), "NOPERM"),
)
_FIRST_WORD: Final = re.compile(r"-?([A-Z]{3,}) ")
# Redis 6.2 quotes what a command in a script was refused for, and calls the whole thing ERR.
_QUOTED_CODE: Final = re.compile(r": -([A-Z]{3,}) ")
_DAMAGE: Final = re.compile(
    r"WRONGTYPE|not an integer|not a (valid )?float|would overflow|equal or smaller than the target|attempt to "
)


def code_of(error: BaseException | None) -> str | None:
    """What a driver's error is called in ``REFUSALS``; ``None`` if nobody refused anything."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return "CERTIFICATE"
        if isinstance(each, exceptions.RedisError) and (code := _own_code(each)):
            return code
    return None


def _own_code(error: exceptions.RedisError) -> str | None:
    said = str(error)
    for phrase, code in _PHRASES:
        if phrase.search(said):
            return code
    # The driver takes the codes it knows away from the text.
    given = getattr(error, "status_code", None)
    if given in REFUSALS:
        return str(given)
    for match in (_QUOTED_CODE.search(said), _FIRST_WORD.match(said)):
        if match and match[1] in REFUSALS:
            return match[1]
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return "LOGIN"
    return "ERR" if isinstance(error, exceptions.ResponseError) else None


def broker_error(url: str, error: Exception) -> BrokerError:
    """Say what an error of the driver means: nobody answered, or somebody said no."""
    where, said = shown_url(url), str(error) or type(error).__name__
    # In redis-py a failed login is also a connection error, or, with asyncio, the cause of one.
    code = code_of(error)
    if code is None:
        return BrokerUnreachable(where, _system_words(error) or said.rstrip("."))
    refusal = REFUSALS.get(code, _OTHER)
    if refusal.is_not_now:
        return BrokerUnreachable(where, said.rstrip("."), refusal.advice)
    return BrokerRefused(where, said, refusal.advice, is_passing=refusal.is_passing, needs_person=refusal.needs_person)


def _system_words(error: BaseException | None) -> str | None:
    """What the system said of a connection, without the address that the driver repeats."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno is not None and each.errno > 0:
            return os.strerror(each.errno).lower()
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_out_of_memory(error: BrokerError) -> bool:
    """Whether the server refused because ``maxmemory`` is reached."""
    return code_of(error.__cause__) == "OOM"


def is_damage(error: Exception) -> bool:
    """Whether the server refused because what stands in a key is not what we keep there: no repetition will help."""
    return isinstance(error, BrokerError) and _DAMAGE.search(str(error.__cause__)) is not None
