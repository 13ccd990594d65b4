"""Who is the primary of a service: the sentinels say so, and the server itself must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.store.calls import Call, Word, plain, text
from oneshot_queue.store.transport.addresses import BrokerAddress, Peer
from oneshot_queue.store.transport.refusals import broker_error
from oneshot_queue.store.transport.routes import Exchange, Failed, Leave, Said, Steps
from oneshot_queue.urls import shown_url

RECHECK_S: Final = 5.0
"""So often the sentinels are asked though all goes well: an old primary that was cut off from them does not know."""
_PORTS: Final = range(1, 65_536)


class Sentinels:
    """The directory of a service: one primary for all keys."""

    repeatable = frozenset({"READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED"})

    def __init__(self, broker: BrokerAddress, now: Callable[[], float]) -> None:
        self._url = broker.url
        self._service = broker.service
        self._sentinels = list(broker.peers)
        self._now = now
        self._primary: Peer | None = None
        self._is_doubted = False
        self._recheck_s = 0.0

    @property
    def is_current(self) -> bool:
        """Whether the primary is known, nothing speaks against it, and it was asked for of late."""
        return self._primary is not None and not self._is_doubted and self._now() < self._recheck_s

    def look_up(self) -> Steps:
        """Ask one sentinel after the other; who answered is asked first the next time.

        Raises:
            BrokerUnreachable: None answers. BrokerRefused: None knows the service.
        """
        if self._is_doubted:
            # Those that are idle may lead to a primary that was demoted.
            yield Leave(frozenset())
        # Others need not ask as well.
        self._recheck_s = self._now() + RECHECK_S
        problem: Exception | None = None
        is_unknown = False
        for sentinel in list(self._sentinels):
            came = yield Exchange(sentinel, [_who_is_primary(self._service)])
            match came:
                case Said(_, [[bytes() as host, bytes() as port]]) if port.isdigit() and int(port) in _PORTS:
                    self._primary, self._is_doubted = Peer(text(host), int(port)), False
                    self._sentinels = [sentinel, *(each for each in self._sentinels if each != sentinel)]
                    yield Leave(frozenset({self._primary}))
                    return
                case Said(_, [None]):
                    is_unknown = True
                case Said(_, [Exception() as refusal]):
                    problem = refusal
                case Failed(error):
                    problem = error
        if self._primary is None or self._is_doubted:
            raise self._failure(problem, is_unknown=is_unknown)

    def home(self, key: Word | None) -> Peer | None:  # noqa: ARG002 - all keys live there
        """The primary."""
        return self._primary

    def doubt(self) -> None:
        """A connection to the primary failed."""
        self._is_doubted = True

    def redirect(self, refusal: Exception, asked: Peer) -> Peer | None:  # noqa: ARG002 - who refused says no more
        """It is the primary no more, or not yet."""
        self._is_doubted = True
        return None

    def _failure(self, problem: Exception | None, *, is_unknown: bool) -> BrokerUnreachable | BrokerRefused:
        # One that answers alone may have lost its configuration; the others know better once they are back.
        if is_unknown and problem is None:
            said, advice = f"its sentinels know no service {self._service!r}", "check the name at the end of the URL"
            return BrokerRefused(shown_url(self._url), said, advice, needs_person=True)
        told = broker_error(self._url, problem or ConnectionError("they talk nonsense"))
        if isinstance(told, BrokerRefused):
            return told
        said = told.problem if isinstance(told, BrokerUnreachable) else str(told)
        return BrokerUnreachable(shown_url(self._url), f"no sentinel names the primary: {said}")


def _who_is_primary(service: str) -> Call[Any]:
    return plain("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service, read=lambda reply: reply)
