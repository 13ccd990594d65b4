"""The directory of a service watched by sentinels: they name the primary, and the server itself must confirm it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.store.calls import Call, Word, plain, text
from oneshot_queue.store.transport.addresses import BrokerAddress, Peer
from oneshot_queue.store.transport.refusals import broker_error
from oneshot_queue.store.transport.routes import ConnectionFailed, Exchange, KeepOnly, Replied, Steps
from oneshot_queue.urls import shown_url

RECHECK_S: Final = 5.0
"""Re-check this often even when all is well: a partitioned primary does not know that it was replaced."""
_PORTS: Final = range(1, 65_536)


class Sentinels:
    """The directory of a service: one primary holds all keys."""

    repeatable = frozenset({"READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED"})

    def __init__(self, broker: BrokerAddress, now: Callable[[], float]) -> None:
        self._url = broker.url
        self._service = broker.service
        self._sentinels = list(broker.peers)
        self._now = now
        self._primary: Peer | None = None
        self._is_stale = False
        self._recheck_s = 0.0

    @property
    def is_current(self) -> bool:
        """Whether the primary is known, was looked up recently, and has not failed since."""
        return self._primary is not None and not self._is_stale and self._now() < self._recheck_s

    def look_up(self) -> Steps:
        """Ask one sentinel after another; the one that answered is asked first next time.

        Raises:
            BrokerUnreachable: No sentinel answers.
            BrokerRefused: No sentinel knows the service.
        """
        if self._is_stale:
            # Idle connections may be to a primary that was demoted.
            yield KeepOnly(frozenset())
        # Set before the lookup, so that other tasks do not start one too.
        self._recheck_s = self._now() + RECHECK_S
        problem: Exception | None = None
        is_unknown = False
        for sentinel in list(self._sentinels):
            result = yield Exchange(sentinel, [_who_is_primary(self._service)])
            match result:
                case Replied(_, [[bytes() as host, bytes() as port]]) if port.isdigit() and int(port) in _PORTS:
                    self._primary, self._is_stale = Peer(text(host), int(port)), False
                    self._sentinels = [sentinel, *(each for each in self._sentinels if each != sentinel)]
                    yield KeepOnly(frozenset({self._primary}))
                    return
                case Replied(_, [None]):
                    is_unknown = True
                case Replied(_, [Exception() as refusal]):
                    problem = refusal
                case ConnectionFailed(error):
                    problem = error
        if self._primary is None or self._is_stale:
            raise self._failure(problem, is_unknown=is_unknown)

    def peer_of(self, key: Word | None) -> Peer | None:  # noqa: ARG002 - the primary holds all keys
        """Return the primary."""
        return self._primary

    def invalidate(self) -> None:
        """Look up the primary again before the next call."""
        self._is_stale = True

    def redirect(self, refusal: Exception, asked: Peer) -> Peer | None:  # noqa: ARG002 - the refusal names no server
        """Look up the primary again: the server is no longer the primary, or not yet."""
        self._is_stale = True
        return None

    def _failure(self, problem: Exception | None, *, is_unknown: bool) -> BrokerUnreachable | BrokerRefused:
        # A sentinel that answers alone may have lost its configuration; the others may still know the service.
        if is_unknown and problem is None:
            refusal = f"its sentinels know no service named {self._service!r}"
            advice = "check the name at the end of the URL"
            return BrokerRefused(shown_url(self._url), refusal, advice, needs_person=True)
        error = broker_error(self._url, problem or ConnectionError("their replies are invalid"))
        if isinstance(error, BrokerRefused):
            return error
        message = error.problem if isinstance(error, BrokerUnreachable) else str(error)
        return BrokerUnreachable(shown_url(self._url), f"no sentinel names the primary: {message}")


def _who_is_primary(service: str) -> Call[Any]:
    return plain("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service, read=lambda reply: reply)
