"""Translates the driver's errors: the server did not answer, or it refused; and what to do about it.

Redis begins a refusal with a code. One table states for each code whether it is temporary, so that a worker backs off
and retries, or needs a person, so that the worker stops with a clear message.
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
    """How to treat one of Redis' error codes.

    Attributes:
        advice: What the cause is, or what to do about it.
        is_passing: Temporary: worth retrying.
        is_unavailable: The server serves no client at the moment; treated as if it had not answered.
        needs_person: Permanent until a person changes something.
    """

    advice: str
    is_passing: bool = False
    is_unavailable: bool = False
    needs_person: bool = False


def _unavailable(advice: str) -> Refusal:
    return Refusal(advice, is_passing=True, is_unavailable=True)


_LOGIN_ADVICE: Final = "check user and password in the URL"
_CLUSTER_ADVICE: Final = "it is part of a cluster; use a redis+cluster:// URL"
PERMISSIONS: Final = "~{oq* &{oq* +@read +@write +@pubsub +@scripting +@connection +info +time"
"""ACL rules for a user of the namespace ``oq``; sentinels also need ``+role``, clusters ``+cluster|slots``."""
_PERMISSION_ADVICE: Final = (
    f"grant this user {PERMISSIONS} (oq is the namespace), with sentinels also +role, in a cluster also +cluster|slots"
)
OLD_SERVER_ADVICE: Final = "oneshot-queue needs Redis 6.2 or later, or Valkey"

REFUSALS: Final[dict[str, Refusal]] = {
    "LOADING": _unavailable("it is starting; it answers once its data is in memory"),
    "BUSY": _unavailable("a script or function keeps it busy; SCRIPT KILL ends a script that has written nothing"),
    "MASTERDOWN": _unavailable(
        "it is a replica that has lost its primary; connect to the primary, or wait until the replica reconnects"
    ),
    "CLUSTERDOWN": _unavailable("part of the cluster is down; it answers again after a failover"),
    "TRYAGAIN": _unavailable("the queue is moving to another node of the cluster; try again in a moment"),
    "UNBLOCKED": _unavailable("it has just become a replica, or the queue has moved to another node; try again"),
    "MAXCLIENTS": _unavailable("too many clients are connected to it; raise maxclients, or close some connections"),
    "READONLY": Refusal("it is a replica; connect to the primary", is_passing=True),
    "OOM": Refusal("its memory is full; wait for jobs to end, or raise maxmemory", is_passing=True),
    "MISCONF": Refusal("it cannot write its data to disk; check its log and its free disk space", is_passing=True),
    "NOREPLICAS": Refusal(
        "fewer replicas are connected than min-replicas-to-write; connect more, or lower it", is_passing=True
    ),
    "NOPERM": Refusal(_PERMISSION_ADVICE, needs_person=True),
    "WRONGPASS": Refusal(_LOGIN_ADVICE, needs_person=True),
    "NOAUTH": Refusal(_LOGIN_ADVICE, needs_person=True),
    "LOGIN": Refusal(_LOGIN_ADVICE, needs_person=True),
    "CERTIFICATE": Refusal("check the host name, and that the certificate is valid and trusted", needs_person=True),
    "UNKNOWN": Refusal(OLD_SERVER_ADVICE, needs_person=True),
    "MOVED": Refusal(_CLUSTER_ADVICE, needs_person=True),
    "ASK": Refusal(_CLUSTER_ADVICE, needs_person=True),
    "NOCLUSTER": Refusal("it is a single server, not a cluster; use redis://HOST:PORT", needs_person=True),
    "CROSSSLOT": Refusal("a call used keys of two queues, which a cluster does not allow; please report this bug"),
    "NOGROUP": Refusal("a consumer group is missing; the next claim creates it again"),
    "NOSCRIPT": Refusal("its script cache was flushed during the call; try again"),
    "EXECABORT": Refusal("a command of a transaction was refused; check the server's log"),
}
"""By Redis' code, or by a name of our own in capitals where Redis has none."""

_OTHER: Final = Refusal("check the server's log")
_PHRASES: Final = (
    (re.compile(r"max number of clients"), "MAXCLIENTS"),
    (re.compile(r"unknown (redis )?command", re.IGNORECASE), "UNKNOWN"),
    (re.compile(r"cluster support disabled"), "NOCLUSTER"),
    # For a command in a script: the texts of Redis 6.2, and of Redis 7 and later.
    (re.compile(r"executing the script can't|no permissions to "), "NOPERM"),
)
_FIRST_WORD: Final = re.compile(r"-?([A-Z]{3,}) ")
# For a command in a script, Redis 6.2 quotes the original code, in an error of code ERR.
_QUOTED_CODE: Final = re.compile(r": -([A-Z]{3,}) ")
_DAMAGE: Final = re.compile(
    r"WRONGTYPE|not an integer|not a (valid )?float|would overflow|equal or smaller than the target|attempt to "
)


def code_of(error: BaseException | None) -> str | None:
    """Return the key in ``REFUSALS`` for a driver's error; ``ERR`` if it has none; ``None`` if it is not a refusal."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return "CERTIFICATE"
        if isinstance(each, exceptions.RedisError) and (code := _own_code(each)):
            return code
    return None


def _own_code(error: exceptions.RedisError) -> str | None:
    message = str(error)
    for phrase, code in _PHRASES:
        if phrase.search(message):
            return code
    # The driver removes codes that it knows from the text.
    given = getattr(error, "status_code", None)
    if given in REFUSALS:
        return str(given)
    for match in (_QUOTED_CODE.search(message), _FIRST_WORD.match(message)):
        if match and match[1] in REFUSALS:
            return match[1]
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return "LOGIN"
    return "ERR" if isinstance(error, exceptions.ResponseError) else None


def broker_error(url: str, error: Exception) -> BrokerError:
    """Translate a driver's error into ``BrokerUnreachable`` or ``BrokerRefused``."""
    where, message = shown_url(url), str(error) or type(error).__name__
    # In redis-py a failed login is also a connection error, or, with asyncio, the cause of one.
    code = code_of(error)
    if code is None:
        return BrokerUnreachable(where, _system_message(error) or message.rstrip("."))
    refusal = REFUSALS.get(code, _OTHER)
    if refusal.is_unavailable:
        return BrokerUnreachable(where, message.rstrip("."), refusal.advice)
    return BrokerRefused(
        where, message, refusal.advice, is_passing=refusal.is_passing, needs_person=refusal.needs_person
    )


def _system_message(error: BaseException | None) -> str | None:
    """Return the operating system's message for a failed connection, without the address that the driver repeats."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno is not None and each.errno > 0:
            return os.strerror(each.errno).lower()
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_out_of_memory(error: BrokerError) -> bool:
    """Whether the server refused because ``maxmemory`` is reached."""
    return code_of(error.__cause__) == "OOM"


def is_damage(error: Exception) -> bool:
    """Whether the server refused because a key holds damaged or foreign data; repeating the call cannot help."""
    return isinstance(error, BrokerError) and _DAMAGE.search(str(error.__cause__)) is not None
