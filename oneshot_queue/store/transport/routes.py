"""Routes: which server gets a call, and which calls are sent again. The part of a connection that does no I/O.

A route carries out calls as a generator. It yields steps such as "send these calls there" or "wait", receives the
result of each, and returns the answers. The asynchronous and the blocking connection perform the same steps.

Only a call that a server refused before doing anything is sent again; a call whose reply was lost never is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis import exceptions

from oneshot_queue.errors import BrokerError, BrokerUnreachable, MalformedData
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.transport.addresses import BrokerAddress, Peer
from oneshot_queue.store.transport.refusals import broker_error


@dataclass(frozen=True, slots=True)
class Exchange:
    """A step: send these calls to a server, pipelined. Its result is ``Replied`` or ``ConnectionFailed``.

    Attributes:
        peer: The server; ``None`` is the one that the URL names.
    """

    peer: Peer | None
    calls: Iterable[Call[Any]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """A step: wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class KeepOnly:
    """A step: close connections to all other servers except sentinels; those in use close once they are returned."""

    peers: frozenset[Peer]


@dataclass(frozen=True, slots=True)
class Replied:
    """The calls, and the reply to each, in order. In the place of a refused call's reply is the driver's error."""

    calls: Sequence[Call[Any]]
    replies: Sequence[Any]


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The connection failed.

    Attributes:
        was_sent: Whether calls may have been carried out. If false, no connection could be opened.
    """

    error: Exception
    was_sent: bool


Steps = Generator[Exchange | Backoff | KeepOnly, Any, Any]


class Route(Protocol):
    """Carries out calls on the right servers."""

    def carry_out(self, calls: Iterable[Call[Any]]) -> Steps:
        """Carry out calls; returns the answer or the error of each, in order.

        Raises:
            BrokerUnreachable: The connection failed; which calls were carried out is unknown.
        """

    def find_pubsub_peer(self) -> Steps:
        """Find a server to subscribe on; returns its peer."""

    def invalidate(self) -> None:
        """Look up the servers again before the next call, because a connection failed."""

    def peer_of(self, key: Word) -> Peer | None:
        """Return the server that holds a key, or ``None`` if unknown."""


class Direct:
    """The route to the one server that the URL names."""

    def __init__(self, broker: BrokerAddress) -> None:
        self._url = broker.url

    def carry_out(self, calls: Iterable[Call[Any]]) -> Steps:
        """Send the calls once."""
        result = yield Exchange(None, calls)
        if isinstance(result, ConnectionFailed):
            raise broker_error(self._url, result.error) from result.error
        return typed_answers(self._url, result.calls, result.replies)

    def find_pubsub_peer(self) -> Steps:
        """Return ``None``: there is only one server."""
        yield from ()

    def invalidate(self) -> None:
        """Do nothing: there is only one server."""

    def peer_of(self, key: Word) -> Peer | None:  # noqa: ARG002 - all keys are on one server
        """Return ``None``: there is only one server."""
        return None


def typed_answers(url: str, calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[Any]:
    """Convert replies into typed answers; the answer of a refused call is its error.

    Raises:
        BrokerUnreachable: The answer of every call is one.
    """
    answers: list[Any] = []
    for call, reply in zip(calls, replies, strict=True):
        if isinstance(reply, BrokerError):
            answers.append(reply)
            continue
        if isinstance(reply, Exception):
            refusal = broker_error(url, reply)
            refusal.__cause__ = reply
            answers.append(refusal)
            continue
        try:
            answers.append(call.read(reply))
        except MalformedData as malformed:
            answers.append(malformed)
        except (ValueError, TypeError, KeyError, IndexError) as surprise:
            # Stored data is not trusted: one damaged value must not cost the other calls their answers.
            answers.append(MalformedData("reply", f"{surprise!r}; another program may have written to these keys"))
    if answers and all(isinstance(answer, BrokerUnreachable) for answer in answers):
        raise answers[0]
    return answers


def unknown_scripts(replies: Sequence[Any]) -> list[int]:
    """Return the positions of calls whose script was not cached. The server did nothing, so they can be sent again."""
    return [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
